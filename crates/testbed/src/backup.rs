//! Copies of data folders: a backup, and what becomes of a server that is restored from it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, TestbedError};

/// Where a data folder's backup lies.
pub(crate) fn place(data: &Path) -> PathBuf {
    data.with_extension("backup")
}

/// Puts a copy of `data` aside, over an earlier one. Its server must not run.
pub(crate) fn take(data: &Path) -> Result<()> {
    replace(&place(data), Some(data))
}

/// Puts the backup in the place of `data`. Its server must not run.
pub(crate) fn put_back(data: &Path) -> Result<()> {
    replace(data, Some(&place(data)))
}

/// Empties `data`. Its server must not run.
pub(crate) fn empty(data: &Path) -> Result<()> {
    replace(data, None)
}

fn replace(target: &Path, source: Option<&Path>) -> Result<()> {
    if target.exists() {
        fs::remove_dir_all(target).map_err(TestbedError::io(format!("deleting {}", target.display())))?;
    }
    source.map_or(Ok(()), |source| copy(source, target))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copying = || TestbedError::io(format!("copying {}", from.display()));
    fs::create_dir_all(to).map_err(copying())?;
    for entry in fs::read_dir(from).map_err(copying())? {
        let entry = entry.map_err(copying())?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(copying())?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(copying())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_put_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("deep")).unwrap();
        fs::write(data.join("deep/file"), "old").unwrap();
        take(&data).unwrap();
        fs::write(data.join("deep/file"), "new").unwrap();
        fs::write(data.join("more"), "new").unwrap();
        put_back(&data).unwrap();
        assert_eq!(fs::read_to_string(data.join("deep/file")).unwrap(), "old");
        assert!(!data.join("more").exists());
        empty(&data).unwrap();
        assert!(!data.exists());
    }
}
