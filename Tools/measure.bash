# shellcheck shell=bash
# What Tools/bench measures on any path to the lab's server: throughput, round trips, small packets,
# and what each of these cost which node, or strangers. Sourced after lab.bash, never run.
#
# A path is a name, a host its client runs on, and $scratch/PATH.nodes: one line for each of its
# nodes, the client's first, with a role and the processes that play it. Results are lines of JSON
# in $scratch/tcp, $scratch/trips and $scratch/udp. bench-report.jq makes one object of them.

runs=5
seconds=3
# Above so many cores taken by others, a run is spoilt.
spoilt_at=0.15
declare -A path_host=([umbel]=client)
ticks_per_second=$(getconf CLK_TCK)
kernel_pids=$(pgrep -d ' ' '^ksoftirqd/' || true)

# inside HOST PROGRAM…: runs a program on a host. Not by `lab exec`, whose own start would count.
inside() {
    local host=$1
    shift
    ip netns exec "$lab_name-$host" "$@"
}

# --- Who worked how much ------------------------------------------------------------------------

# learn_circuit: notes the nodes of Umbel's circuit in use; they may have changed.
learn_circuit() {
    local names host role roles=(client guard middle exit) index=0
    names=$(hops nickname)
    for host in client $names; do
        role=${roles[index++]}
        echo "$role $(about "$host" '.programs[0].pid')"
    done >"$scratch/umbel.nodes"
}

# spent: for each line of $scratch/accounts, its name and the ticks its processes have taken.
spent() {
    awk '{
        ticks = 0
        for (i = 2; i <= NF; i++) {
            file = "/proc/" $i "/stat"
            # The second field may hold spaces: count from behind it.
            if ((getline line < file) > 0) {
                sub(/.*\) /, "", line)
                split(line, part, " ")
                ticks += part[12] + part[13]
            }
            close(file)
        }
        print $1, ticks
    }' "$scratch/accounts"
}

# machine_ticks: what all processors have worked, and what the machine's host kept from them.
machine_ticks() {
    awk '/^cpu / { print $2 + $3 + $4 + $7 + $8, $9 }' /proc/stat
}

# own_seconds: CPU time of this shell and all it has waited for: iperf3, ping, awk.
own_seconds() {
    # A subshell would have no children yet.
    times >"$scratch/times"
    awk '{ for (i = 1; i <= 2; i++) { split($i, t, "m"); sum += t[1] * 60 + t[2] } }
        END { print sum }' "$scratch/times"
}

# begin_watch PATH: from here on, count what the path's nodes and others work.
begin_watch() {
    local lab_pids guest_pids
    lab_pids=$(jq -r '[.hosts[].programs[].pid | numbers] | join(" ")' "$scratch/status.json")
    guest_pids=$(guests | paste -sd ' ')
    {
        cat "$scratch/$1.nodes"
        # Without those on the path, which have their own lines.
        tr ' ' '\n' <<<"$lab_pids $guest_pids" | grep -vxF -f <(cut -d ' ' -f 2- \
            "$scratch/$1.nodes" | tr ' ' '\n') | paste -sd ' ' | sed 's/^/others /'
        echo "kernel $kernel_pids"
    } >"$scratch/accounts"
    spent >"$scratch/spent_before"
    own_before=$(own_seconds)
    busy_before=$(machine_ticks)
    watch_begun=$EPOCHREALTIME
}

# end_watch: writes $scratch/watch: seconds by role, and the cores that nobody here accounts for.
end_watch() {
    local ended=$EPOCHREALTIME busy_after own_after
    busy_after=$(machine_ticks)
    own_after=$(own_seconds)
    spent | paste -d ' ' "$scratch/spent_before" - |
        jq -R -n --argjson hz "$ticks_per_second" --argjson own "$own_before" \
            --argjson own_after "$own_after" --arg before "$busy_before" --arg after "$busy_after" \
            --argjson wall $((${ended/[.,]/} - ${watch_begun/[.,]/})) '
        [inputs | split(" ") | {key: .[0], value: (((.[3] | tonumber) - (.[1] | tonumber)) / $hz)}]
            | from_entries as $all
        | [$before, $after | split(" ") | map(tonumber / $hz)] as [$b, $a]
        | ($wall / 1e6) as $time
        | {
            cpu_s: ($all | del(.others, .kernel)),
            foreign_cores: ([($a[0] - $b[0] - ([$all[]] | add) - ($own_after - $own)) / $time, 0]
                | max),
            stolen_cores: (($a[1] - $b[1]) / $time)
        }' >"$scratch/watch"
}

# is_spoilt: whether others took too much of what was watched last.
is_spoilt() {
    jq -e --argjson most "$spoilt_at" '.foreign_cores >= $most' "$scratch/watch" >/dev/null
}

# --- TCP ----------------------------------------------------------------------------------------

# load DIRECTION STREAMS SECONDS HOST: a load of iperf3 to $scratch/iperf3.json.
load() {
    local way=()
    [[ $1 == up ]] || way=(-R)
    inside "$4" timeout $(($3 + 15)) \
        iperf3 -c "$inet_v4" -t "$3" -P "$2" -J "${way[@]}" >"$scratch/iperf3.json" || {
        jq -r '.error // empty' "$scratch/iperf3.json" >&2
        return 1
    }
}

# tcp_run PATH LINKS DIRECTION STREAMS: one run, and what it cost.
tcp_run() {
    [[ $1 != umbel ]] || learn_circuit
    begin_watch "$1"
    load "$3" "$4" "$seconds" "${path_host[$1]}"
    end_watch
    jq -c -n --slurpfile watch "$scratch/watch" --slurpfile load "$scratch/iperf3.json" \
        --arg path "$1" --arg links "$2" --arg direction "$3" --argjson streams "$4" '
        $load[0].end.sum_received as $sum | $watch[0] as $watch
        | {path: $path, links: $links, direction: $direction, streams: $streams,
            gbit_per_s: ($sum.bits_per_second / 1e9),
            cpu_s_per_gib: ($watch.cpu_s | map_values(. / ($sum.bytes / 1073741824)))}
        + ($watch | del(.cpu_s))' >>"$scratch/tcp"
}

# tcp_series LINKS DIRECTION STREAMS PATH…: runs of these paths in turn, until each has $runs that
# others did not spoil, or twice as many runs in all.
tcp_series() {
    local links=$1 direction=$2 streams=$3 path tries is_missing=true
    local -A clean=()
    shift 3
    for ((tries = 1; tries <= 2 * runs; tries++)); do
        is_missing=false
        for path in "$@"; do
            ((${clean[$path]:-0} < runs)) || continue
            echo "$path, run $tries, $((${clean[$path]:-0})) of $runs are in" >&2
            tcp_run "$path" "$links" "$direction" "$streams"
            is_spoilt || clean[$path]=$((${clean[$path]:-0} + 1))
            ((${clean[$path]:-0} >= runs)) || is_missing=true
        done
        $is_missing || break
    done
    report_on tcp "$links" "$direction" "$streams" "$@"
}

# report_on KIND ARGUMENT…: what a step says of what it has just measured.
report_on() {
    jq -r -n -L Tools --argjson runs "$runs" --argjson spoilt_at "$spoilt_at" \
        'include "bench-table"; step_result' --args "$@" <"$scratch/$1"
}

# --- Round trips --------------------------------------------------------------------------------

# pings HOST COUNT SECONDS: round trips from there to the server, in ms, to $scratch/pings; how many
# were sent is $sent. Ends with the time, however many are left.
pings() {
    inside "$1" ping -n -c "$2" -w "$3" -i 0.01 "$inet_v4" >"$scratch/ping" || true
    sed -nE 's/.* time=([0-9.]+) ms/\1/p' "$scratch/ping" >"$scratch/pings"
    sent=$(sed -nE 's/^([0-9]+) packets transmitted.*/\1/p' "$scratch/ping")
    [[ -s $scratch/pings ]] || {
        echo 'no ping was answered' >&2
        return 1
    }
}

# trip_run PATH ECN DIRECTION STREAMS COUNT: round trips, beside a load where STREAMS is not 0.
trip_run() {
    local host=${path_host[$1]} limit_s=$(($5 / 70 + 1)) job='' sent
    [[ $1 != umbel ]] || learn_circuit
    begin_watch "$1"
    echo '{}' >"$scratch/iperf3.json"
    if (($4 > 0)); then
        # The load begins a second before the first ping and ends after the last.
        load "$3" "$4" $((limit_s + 2)) "$host" &
        job=$!
        sleep 1
    fi
    pings "$host" "$5" "$limit_s"
    [[ -z $job ]] || wait "$job"
    end_watch
    jq -c -n --slurpfile trips "$scratch/pings" --slurpfile load "$scratch/iperf3.json" \
        --slurpfile watch "$scratch/watch" --arg path "$1" --arg ecn "$2" --arg direction "$3" \
        --argjson streams "$4" --argjson sent "$sent" '
        {path: $path, ecn: ($ecn == "ecn"), direction: $direction, streams: $streams,
            sent: $sent, trips: $trips,
            gbit_per_s: ($load[0].end.sum_received.bits_per_second // 0 | . / 1e9)}
        + ($watch[0] | del(.cpu_s))' >>"$scratch/trips"
}

# trip_series PATH ECN DIRECTION STREAMS COUNT: a run, and one more where others spoilt it.
trip_series() {
    trip_run "$@"
    if is_spoilt; then trip_run "$@"; fi
    report_on trips "$@"
}

# set_ecn VALUE HOST: whether senders at that host and at the server ask for marks in place of losses
# (1), or do what the kernel does by itself (2).
set_ecn() {
    local host
    for host in "$2" inet; do inside "$host" sysctl -qw "net.ipv4.tcp_ecn=$1"; done
}

# --- Small packets ------------------------------------------------------------------------------

# udp_run PATH RATE: 64-byte UDP packets at that many a second; 0 is as fast as they can be sent.
udp_run() {
    [[ $1 != umbel ]] || learn_circuit
    begin_watch "$1"
    inside "${path_host[$1]}" timeout $((seconds + 15)) \
        iperf3 -u -c "$inet_v4" -l 64 -b $(($2 * 512)) -t "$seconds" -J >"$scratch/iperf3.json"
    end_watch
    jq -c --slurpfile watch "$scratch/watch" --arg path "$1" --argjson rate "$2" '.end.sum
        | {path: $path, rate: $rate, sent_per_s: (.packets / .seconds),
            delivered_per_s: ((.packets - .lost_packets) / .seconds),
            loss_percent: .lost_percent} + ($watch[0] | del(.cpu_s))' \
        "$scratch/iperf3.json" >>"$scratch/udp"
}

# udp_series PATH RATE…: rising rates up to the first that loses 1 % twice, and then a flood.
udp_series() {
    local path=$1 rate
    shift
    for rate in "$@"; do
        echo "$path, $rate a second" >&2
        udp_run "$path" "$rate"
        has_lost || continue
        udp_run "$path" "$rate"
        ! has_lost || break
    done
    echo "$path, as many as can be" >&2
    udp_run "$path" 0
    report_on udp "$path"
}

# has_lost: whether the last run lost 1 % or more.
has_lost() {
    tail -n 1 "$scratch/udp" | jq -e '.loss_percent >= 1' >/dev/null
}

# --- Links packet by packet ---------------------------------------------------------------------

# segment_links on|off: from now on, whether every packet passes every cable by itself.
#
# A cable of the lab hands 64 KiB super-packets on whole. Off, each sender's kernel cuts them, and
# each receiver's puts together what arrives, as a network card does. veth does the latter only
# where the other end does not offload TCP segmentation.
segment_links() {
    local offload=on merge=off host
    if [[ $1 == on ]]; then offload=off merge=on; fi
    for host in $(jq -r '.hosts[] | select(.role != "authority").name' "$scratch/status.json"); do
        inside "$host" ethtool -K eth0 tso "$offload" tx-udp-segmentation "$offload" gro "$merge"
        inside core ethtool -K "$host" tso "$offload"
    done >/dev/null
    # Its TCP would otherwise still make trains, for its own kernel to cut.
    inside inet ethtool -K eth0 gso "$offload" >/dev/null
}

# --- Memory -------------------------------------------------------------------------------------

# memory PATH: how much of each node lies in memory, in MiB, to $scratch/memory.
memory() {
    local role pids pid
    [[ $1 != umbel ]] || learn_circuit
    while read -r role pids; do
        for pid in $pids; do
            awk -v path="$1" -v role="$role" '/^VmRSS/ { printf \
                "{\"path\": \"%s\", \"role\": \"%s\", \"mib\": %.1f}\n", path, role, $2 / 1024 }' \
                "/proc/$pid/status"
        done
    done <"$scratch/$1.nodes" >>"$scratch/memory"
    report_on memory "$1"
}

# --- Times --------------------------------------------------------------------------------------

# note_time WHAT BEGUN: the time since $EPOCHREALTIME was BEGUN.
note_time() {
    note_ms "$1" "$((${EPOCHREALTIME/[.,]/} - ${2/[.,]/}))e-3"
}

# note_ms WHAT MILLISECONDS: a time that somebody else took.
note_ms() {
    echo "{\"what\": \"$1\", \"ms\": $2}" >>"$scratch/times_ms"
}

# say_times WHAT: what a step says of times it took.
say_times() {
    report_on times_ms "$1"
}

# end_process PID: ends a process that may not be a child of this shell, and waits until it is gone.
end_process() {
    local deadline=$((SECONDS + 5))
    kill -TERM "$1" 2>/dev/null || return 0
    while kill -0 "$1" 2>/dev/null; do
        ((SECONDS <= deadline)) || kill -KILL "$1" 2>/dev/null || true
        sleep 0.01
    done
}
