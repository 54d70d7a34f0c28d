mod elections;
mod notes;
mod steps;
