# Starts a server that must not outlive the process that wanted it. Arguments: a folder, then the server's command line.
#
# Standard input is a pipe. The test process holds the other end, writes nothing while the server may live, and writes
# a line once it has ended the server in good order. Should the test process die (a panic that aborts, kill -9, the
# machine's memory running out), the kernel closes the pipe: read then fails, the server is killed and the folder goes.
# The kernel's own "signal on the parent's death" would be simpler, but it fires when the thread that started the
# server ends, and test harnesses end threads all the time.
folder=$1
shift
exec 3<&0 </dev/null
(
    read -r _ <&3 && exit 0
    # exec (below) keeps the process id, so $$ is the server. The id can't have gone to another process meanwhile: it
    # is also the id of the process group that this subshell is in.
    kill -s KILL $$
    # Another server of the same folder may still be writing into it while it is killed.
    tries=0
    while ! rm -rf "$folder" && [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    # Whatever the server has started itself.
    kill -s KILL -- -$$
) >/dev/null 2>&1 &
exec "$@" 3<&-
