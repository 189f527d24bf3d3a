# What Tools/bench has measured, as one object: medians and spreads of the runs that count.
# A module; globals: $runs, how many runs of a series count; $spoilt_at, cores taken by others.

def median: sort | if length == 0 then null
    elif length % 2 == 1 then .[length / 2 | floor]
    else (.[length / 2 - 1] + .[length / 2]) / 2 end;

def percentile(share): sort | .[[(length * share | ceil) - 1, 0] | max];

def spread: {count: length, median: median, min: min, max: max};

def is_spoilt: .foreign_cores >= $spoilt_at;

# The runs of one series, to those that count: the ones others disturbed least.
def least_disturbed: sort_by(.foreign_cores) | .[:$runs];

# An object by role, in the order packets meet the nodes.
def by_role: {client, guard, middle, exit} | with_entries(select(.value != null));

# Runs of one path, links, direction and streams, to what is known of them.
def tcp_result: . as $all | least_disturbed
    | (map(.cpu_s_per_gib | to_entries[]) | group_by(.key)
        | map({key: .[0].key, value: (map(.value) | median)}) | from_entries | by_role) as $cpu
    | {
        path: .[0].path, links: .[0].links, direction: .[0].direction, streams: .[0].streams,
        gbit_per_s: (map(.gbit_per_s) | spread),
        cpu_s_per_gib: $cpu,
        cpu_s_per_gib_path: (map([.cpu_s_per_gib[]] | add) | median),
        foreign_cores: (map(.foreign_cores) | spread),
        stolen_cores: (map(.stolen_cores) | spread),
        runs_in_all: ($all | length),
        spoilt_runs: ($all | map(select(is_spoilt)) | length),
        spoilt_runs_counted: (map(select(is_spoilt)) | length)
    };

def tcp_results:
    [group_by(.path, .links, .direction, .streams)[] | tcp_result] as $all
    | [$all[] | . as $one | ($all[] | select(.path == "limit" and .links == $one.links
            and .direction == $one.direction and .streams == $one.streams)) // null
        | . as $limit | $one + {share_of_limit: (if $limit and $one.path != "limit"
            then $one.gbit_per_s.median / $limit.gbit_per_s.median else null end)}]
    | sort_by(.links != "whole", .path != "umbel", .path, .direction == "down", .streams);

# Of the runs under the same load, the one others disturbed least.
def trip_results:
    [group_by(.path, .ecn, .direction, .streams)[] | min_by(.foreign_cores)
        | del(.trips) + {
            received: (.trips | length),
            median_ms: (.trips | median), p99_ms: (.trips | percentile(0.99))}]
    | sort_by(.path != "umbel", .path, .ecn, .streams > 0, .direction == "down", .streams);

# Small packets: the highest rate that lost less than 1 %, and what a flood delivers.
def udp_results:
    [group_by(.path)[] | {
        path: .[0].path,
        best: ([.[] | select(.rate > 0 and .loss_percent < 1)] | max_by(.sent_per_s)),
        flood: ([.[] | select(.rate == 0)] | max_by(.delivered_per_s)),
        runs: .}];

def memory_results:
    [group_by(.path)[] | {path: .[0].path, mib: (group_by(.role)
        | map({key: .[0].role, value: (map(.mib) | add)}) | from_entries | by_role)}];

# Times in ms by what was timed.
def time_results:
    group_by(.what) | map({key: .[0].what, value: (map(.ms) | spread + {p99: percentile(0.99)})})
    | from_entries;

# Everything: the globals hold what was measured, each an array of the lines written.
def report: {
    schema: 1, date: $date, commit: $commit, machine: $machine, cores: $cores, kernel: $kernel,
    runs: $runs, seconds_per_run: $seconds, spoilt_at_cores: $spoilt_at, took_s: $took,
    versions: ($versions | map({key: .path, value: .version}) | from_entries),
    skipped: $skipped,
    tcp: ($tcp | tcp_results), round_trips: ($trips | trip_results),
    udp_64_bytes: ($udp | udp_results), times_ms: ($times | time_results),
    far_round_trip_ms: ($far_trips | median), memory: ($memory | memory_results),
    from_memory: ($from_memory | add // [])
};
