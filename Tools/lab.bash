# shellcheck shell=bash
# One lab of its own for a tool: builds the programs, brings the lab up, takes it away again.
# Sourced after terminal.bash, never run.
#
# LAB_PROGRAMS names a folder with built programs, to be used in place of the release build.

topology=Topology/lab.yaml
programs=${LAB_PROGRAMS:-.build/release}
lab_name=''
# For files of the tool; gone with it.
scratch=''
# The recordings that run: process ids by host.
declare -A recordings=()
# Hosts on which the lab itself runs nothing: what runs there, the tool has started.
guest_hosts=()

# prepare_lab PREFIX ARGUMENT…: builds, becomes root with the tool's own arguments, and arranges
# that whatever the tool makes is gone when it ends, however it ends.
prepare_lab() {
    local prefix=$1 product stale
    shift
    if [[ -z ${LAB_PROGRAMS:-} ]]; then
        Tools/setup
        echo 'Building the release programs: about six minutes the first time, seconds later.'
        for product in umbel umbel-lab; do
            swift build -c release --static-swift-stdlib --product "$product"
        done
    fi
    if ((EUID != 0)); then
        type -P sudo >/dev/null || die 'a lab needs root' \
            'it is made of network namespaces, and there is no sudo' "run $0 as root"
        exec sudo --preserve-env=NO_COLOR,TERM,LANG,LC_ALL \
            "LAB_PROGRAMS=$programs" "$0" "$@"
    fi
    PATH+=:/usr/local/sbin:/usr/sbin:/sbin
    for stale in /run/umbel-lab/"$prefix"[0-9]*; do
        lab_name=${stale##*/}
        # Left by a tool that was killed before it could clean up.
        [[ ! -e $stale ]] || kill -0 "${lab_name#"$prefix"}" 2>/dev/null || {
            end_guests
            lab down
            rm -rf "${TMPDIR:-/tmp}/umbel-$lab_name".*
        }
    done
    lab_name=$prefix$$
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/umbel-$lab_name.XXXXXX")
    trap leave EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# leave: takes away what is left, and ends with the status the tool was ending with.
leave() {
    local status=$?
    trap '' INT TERM HUP
    end_step
    if ((${#recordings[@]} > 0)); then kill -TERM "${recordings[@]}" 2>/dev/null || true; fi
    if [[ -e /run/umbel-lab/$lab_name ]]; then
        end_guests
        printf '\ntaking the lab away\n' >&2
        lab down || status=1
    fi
    rm -rf "$scratch"
    exit "$status"
}

# guests: the processes that run on hosts where the lab runs nothing.
guests() {
    local host
    for host in "${guest_hosts[@]}"; do ip netns pids "$lab_name-$host" 2>/dev/null || true; done
}

# end_guests: ends them, and waits until all of them are gone.
end_guests() {
    local deadline=$((SECONDS + 5)) signal=TERM pids
    while mapfile -t pids < <(guests) && ((${#pids[@]} > 0)); do
        ((SECONDS <= deadline)) || signal=KILL
        kill -"$signal" "${pids[@]}" 2>/dev/null || true
        sleep 0.05
    done
}

# lab COMMAND ARGUMENT…: umbel-lab, on this tool's lab.
lab() {
    local command=$1
    shift
    "$programs/umbel-lab" "$command" --name "$lab_name" "$@"
}

# on HOST PROGRAM ARGUMENT…: runs a program on a host of the lab.
on() {
    local host=$1
    shift
    lab exec "$host" -- "$@"
}

# learn_lab: notes what later commands need to know of the lab that is up.
learn_lab() {
    lab status --json >"$scratch/status.json"
    client_socket=$(about client '.programs[0].socket')
    inet_folder=$(about inet '.programs[0].log | sub("/[^/]*$"; "")')
    inet_v4=$(about inet '.addresses[0]')
    # shellcheck disable=SC2034  # Not every tool asks over IPv6.
    inet_v6=$(about inet '.addresses[1]')
}

# about HOST FILTER: what the lab's status says of a host.
about() {
    jq -r --arg name "$1" ".hosts[] | select(.name == \$name) | $2" "$scratch/status.json"
}

# client COMMAND ARGUMENT…: asks the client's daemon.
client() {
    "$programs/umbel" "$@" --socket "$client_socket"
}

# hops FIELD: that field of the relays of the circuit in use, guard first.
hops() {
    client circuits --json |
        jq -er "[.circuits[] | select(.state == \"active\")][0].hops | map(.$1) | join(\" \")"
}

# record HOST…: begins to record what passes the hosts' cables, to $scratch/HOST.pcap.
record() {
    local host
    for host in "$@"; do
        # Not by `lab`, whose job would be a shell around the program.
        "$programs/umbel-lab" capture --name "$lab_name" "$host" "$scratch/$host.pcap" \
            2>"$scratch/$host.recording" &
        recordings[$host]=$!
    done
    for host in "$@"; do
        until grep -q '] capturing on' "$scratch/$host.recording"; do
            kill -0 "${recordings[$host]}" 2>/dev/null || die "cannot record on $host" \
                "$(<"$scratch/$host.recording")" 'see whether tcpdump runs on this machine'
            sleep 0.05
        done
    done
}

# stop_recording: ends all recordings and waits until their files are complete. A step may run it.
stop_recording() {
    local host
    kill -INT "${recordings[@]}"
    for host in "${!recordings[@]}"; do
        while kill -0 "${recordings[$host]}" 2>/dev/null; do sleep 0.05; done
        grep -q ' packets (' "$scratch/$host.recording" || {
            cat "$scratch/$host.recording" >&2
            return 1
        }
    done
}
