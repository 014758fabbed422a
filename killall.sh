#!/bin/sh
# Ends this checkout's master.py and grading.py, then every server (./stopall).
dir=$(cd "$(dirname "$0")" && pwd -P) || exit 1

# A tool is a Python process with the path of our script among its first
# arguments; a relative path counts from the directory of that process.
tools() {
    for proc in /proc/[0-9]*; do
        pid=${proc#/proc/}
        [ "$pid" != $$ ] || continue
        case $(readlink "$proc/exe") in */python* | */pypy*) ;; *) continue ;; esac
        script=$(tr '\0' '\n' <"$proc/cmdline" | sed -n '2,4{/\(^\|\/\)\(master\|grading\)\.py$/{p;q;}}')
        [ -n "$script" ] || continue
        cwd=$(readlink "$proc/cwd") || continue
        case $script in /*) ;; *) script=$cwd/$script ;; esac
        case $(readlink -f "$script") in
        "$dir/master.py" | "$dir/grading.py") echo "$pid" ;;
        esac
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
# All of them, whatever address they use.
unset CHATROOM_HOST
exec "$dir/stopall"
