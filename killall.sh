#!/bin/sh
# Ends this checkout's master.py and grading.py, then every server (./stopall).
# File names may hold any byte, newlines included: output that ends in one is
# read with an x behind it, since $(...) drops the newlines at its end.
self=$0
if [ -L "$self" ]; then
    self=$(readlink -f "$self" && echo x) || exit 1
    self=${self%?x}
fi
case $self in */*) ;; *) self=./$self ;; esac
dir=$(CDPATH='' cd -- "${self%/*}/" && pwd -P && echo x) || exit 1
dir=${dir%?x}

# In a PID namespace without a /proc of its own, `kill` would take the numbers
# that /proc shows for those of other processes.
{ read -r own _ </proc/self/stat; } 2>/dev/null
if [ "${own:-}" != $$ ]; then
    echo "killall.sh: /proc does not show the processes of this PID namespace: mount one that does" >&2
    exit 1
fi

# The script that a Python process runs, in $script: its first argument that is
# no option, as that process names it.
script_of() {
    script=$(
        # Newlines inside an argument become \001, and newlines again.
        tr '\n\000' '\001\n' <"$1/cmdline" | sed -n 2,16p | {
            value=
            while IFS= read -r argument; do
                case $value$argument in
                value*) value= ;;
                -[WX]) value=value ;;
                -c* | -m* | -) exit 1 ;;
                -*) ;;
                *)
                    printf '%s\nx' "$argument" | tr '\001' '\n'
                    exit 0
                    ;;
                esac
            done
            exit 1
        }
    ) || return 1
    script=${script%?x}
}

# Whether a process is this checkout's tool: its script is our file and stands
# in our folder, or is a link to it. A relative path counts from the directory
# of that process, an absolute one from its root.
is_tool() {
    case $(readlink "$1/exe") in */python* | */pypy*) ;; *) return 1 ;; esac
    script_of "$1" || return 1
    case $script in /*) script=$1/root$script ;; *) script=$1/cwd/$script ;; esac
    [ "$script" -ef "$dir/master.py" ] || [ "$script" -ef "$dir/grading.py" ] || return 1
    [ -L "$script" ] || [ "${script%/*}/" -ef "$dir/" ]
}

tools() {
    for proc in /proc/[0-9]*; do
        if is_tool "$proc"; then
            echo "${proc#/proc/}"
        fi
    done 2>/dev/null
}

for which in TERM TERM KILL; do
    running=$(tools)
    [ -n "$running" ] || break
    # shellcheck disable=SC2086 # one word a process is meant
    kill -$which $running 2>/dev/null
    waited=0
    while [ "$waited" -lt 20 ] && [ -n "$(tools)" ]; do
        waited=$((waited + 1))
        sleep 0.1
    done
done
# All of them, whatever address they use and whoever started them.
unset CHATROOM_HOST LAB_MASTER
exec "${dir%/}/stopall"
