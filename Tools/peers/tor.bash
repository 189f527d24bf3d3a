# shellcheck shell=bash
# Tor (Debian: tor), as a private test network: three authorities and three relays on p1 to p3, of
# which the last is the exit, and a client on p0 whose circuits take exactly these. Tor carries TCP
# streams from a SOCKS port, so what is measured are downloads from the lab's web server.
#
# As shipped, Tor's scheduler waits for the kernel's congestion windows, which in a network without
# delay only costs; its plain one, "Vanilla", shows what the data path can do. Both are measured.
# Sourced after guests.bash, never run.

path_host["tor"]=p0
path_host["tor-shipped"]=p0

tor_missing() {
    local program
    for program in tor tor-gencert; do
        type -P "$program" >/dev/null || {
            echo "there is no $program (Debian: tor)"
            return
        }
    done
}

tor_version() {
    tor --version | sed -nE '1s/^Tor version ([0-9.]+[0-9]).*/\1/p'
}

# --- The network --------------------------------------------------------------------------------

# tor_common NAME: what every node's file says.
tor_common() {
    local folder=$scratch/tor/$1
    # Tor itself would make it, but later than some of its files.
    (umask 077 && mkdir -p "$folder")
    cat <<END
TestingTorNetwork 1
DataDirectory $folder
Nickname $1
Log notice file $folder/log
ControlSocket unix:$folder/control
ShutdownWaitLength 0
BandwidthRate 2000 MBytes
BandwidthBurst 2000 MBytes
ConfluxEnabled 0
END
}

# tor_server NAME HOST PORT: what a relay's or an authority's file says beside that.
tor_server() {
    tor_common "$1"
    cat <<END
SocksPort 0
Address $(address "$2")
ORPort $(address "$2"):$3 IPv4Only
AssumeReachable 1
ContactInfo none
ServerDNSDetectHijacking 0
ServerDNSResolvConfFile $scratch/tor/resolv.conf
END
}

# tor_authority NUMBER: makes its keys and its file, and adds it to the list of authorities.
tor_authority() {
    local name=a$1 host=p$1 folder=$scratch/tor/a$1 fingerprint identity
    {
        tor_server "$name" "$host" 5000
        cat <<END
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
DirPort $(address "$host"):7000
ExitPolicy reject *:*
TestingV3AuthInitialVotingInterval 10
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 60
V3AuthVoteDelay 5
V3AuthDistDelay 5
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
END
    } >"$folder.conf"
    (umask 077 && mkdir -p "$folder/keys")
    (
        cd "$folder/keys"
        echo | tor-gencert --create-identity-key --passphrase-fd 0 -m 12 \
            -a "$(address "$host"):7000" -i authority_identity_key -s authority_signing_key \
            -c authority_certificate
    ) >"$scratch/tor/gencert.log" 2>&1
    # An authority's file is refused as long as it names no authority.
    fingerprint=$(tor --quiet -f "$folder.conf" --list-fingerprint \
        --DirAuthority 'x 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff' 2>/dev/null |
        sed 's/^[^ ]* //; s/ //g' | tail -n 1)
    identity=$(awk '/^fingerprint/ { print $2 }' "$folder/keys/authority_certificate")
    echo "DirAuthority $name orport=5000 no-v2 v3ident=$identity $(address "$host"):7000" \
        "$fingerprint" >>"$scratch/tor/authorities"
}

# tor_relay NUMBER POLICY…: a relay's file.
tor_relay() {
    {
        tor_server "r$1" "p$1" 5001
        cat "$scratch/tor/authorities"
        printf '%s\n' "${@:2}"
    } >"$scratch/tor/r$1.conf"
}

# tor_run_node NAME HOST: starts a node.
tor_run_node() {
    start_guest "$2" "tor-$1" tor -f "$scratch/tor/$1.conf"
}

# tor_await WHAT SECONDS COMMAND…: until the command succeeds.
tor_await() {
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > deadline)); then
            echo "waited in vain for $what" >&2
            tail -q -n 2 "$scratch"/tor/*/log >&2
            return 1
        fi
        echo "waiting for $what" >&2
        sleep 0.2
    done
}

tor_has_consensus() {
    (($(grep -c '^r ' "$scratch/tor/a1/cached-microdesc-consensus") == 6))
}

tor_fetch() {
    inside p0 curl -sSf -m 5 --socks5 127.0.0.1:9050 -o /dev/null "$@"
}

# tor_start: brings the network up, and the client.
tor_start() {
    local number roles=(client guard middle exit)
    mkdir -p "$scratch/tor"
    : >"$scratch/tor/authorities"
    echo 'nameserver 127.0.0.1' >"$scratch/tor/resolv.conf"
    for number in 1 2 3; do tor_authority "$number"; done
    for number in 1 2 3; do cat "$scratch/tor/authorities" >>"$scratch/tor/a$number.conf"; done
    tor_relay 1 'ExitPolicy reject *:*'
    tor_relay 2 'ExitPolicy reject *:*'
    tor_relay 3 'ExitRelay 1' 'ExitPolicyRejectPrivate 0' 'ExitPolicy accept *:*'
    : >"$scratch/tor/pids"
    for number in 1 2 3; do
        tor_run_node "a$number" "p$number"
        tor_run_node "r$number" "p$number"
        echo "${roles[number]} $guest" >>"$scratch/tor/pids"
    done
    tor_await 'a consensus of six relays' 90 tor_has_consensus
    {
        tor_common client
        cat "$scratch/tor/authorities"
        cat <<END
SocksPort 127.0.0.1:9050
EntryNodes $(tor_identity r1)
MiddleNodes $(tor_identity r2)
ExitNodes $(tor_identity r3)
StrictNodes 1
LearnCircuitBuildTimeout 0
CircuitBuildTimeout 10
END
    } >"$scratch/tor/client.conf"
    tor_run_client
    tor_await 'the client' 90 tor_fetch "http://$inet_v4/"
    # Of zeros, without blocks on disk; read once, so that no run reads it first.
    truncate -s 512M "$inet_folder/www/zeros"
    cat "$inet_folder/www/zeros" >/dev/null
}

tor_identity() {
    awk '{ print "$" $2 }' "$scratch/tor/$1/fingerprint"
}

tor_run_client() {
    tor_run_node client p0
    echo "$guest" >"$scratch/tor/client.pid"
    {
        echo "client $guest"
        cat "$scratch/tor/pids"
    } >"$scratch/tor.nodes"
    cp "$scratch/tor.nodes" "$scratch/tor-shipped.nodes"
}

# --- Its control sockets ------------------------------------------------------------------------

# tor_scheduler NAME: sets the scheduler of every node.
tor_scheduler() {
    local name
    for name in client r1 r2 r3; do
        printf 'AUTHENTICATE\r\nSETCONF Schedulers=%s\r\nQUIT\r\n' "$1" |
            socat - "UNIX-CONNECT:$scratch/tor/$name/control" | grep -q '^250 OK.*' || {
            echo "$name does not take the scheduler $1" >&2
            return 1
        }
    done
}

# tor_builds COUNT: circuits over the three relays, one after the other.
tor_builds() {
    local count line id begun
    coproc CONTROL { socat - "UNIX-CONNECT:$scratch/tor/client/control"; }
    printf 'AUTHENTICATE\r\nSETEVENTS CIRC\r\n' >&"${CONTROL[1]}"
    for ((count = 0; count < $1; count++)); do
        echo "$count of $1" >&2
        begun=$EPOCHREALTIME
        printf 'EXTENDCIRCUIT 0 %s,%s,%s\r\n' "$(tor_identity r1)" "$(tor_identity r2)" \
            "$(tor_identity r3)" >&"${CONTROL[1]}"
        id=''
        while read -r -t 15 line <&"${CONTROL[0]}"; do
            case $line in
            '250 EXTENDED '*) id=${line#250 EXTENDED } id=${id%$'\r'} ;;
            "650 CIRC $id BUILT"*) [[ -z $id ]] || break ;;
            "650 CIRC $id FAILED"* | 5*) [[ -z $id && $line != 5* ]] || return 1 ;;
            esac
        done
        note_time 'tor build' "$begun"
        printf 'CLOSECIRCUIT %s\r\n' "$id" >&"${CONTROL[1]}"
    done
    printf 'QUIT\r\n' >&"${CONTROL[1]}"
    wait "$CONTROL_PID" || true
    say_times 'tor build'
}

# --- Measurements -------------------------------------------------------------------------------

# tor_series PATH: downloads of one stream, until $runs are unspoilt or twice as many made.
tor_series() {
    local tries counted=0
    for ((tries = 1; tries <= 2 * runs && counted < runs; tries++)); do
        echo "$1, run $tries, $counted of $runs are in" >&2
        begin_watch "$1"
        # Ends a download that would take longer, with status 28.
        inside p0 curl -s -m "$seconds" --socks5 127.0.0.1:9050 -o /dev/null \
            -w '{"bytes": %{size_download}, "s": %{time_total}}' "http://$inet_v4/zeros" \
            >"$scratch/curl.json" || (($? == 28))
        end_watch
        jq -c --slurpfile watch "$scratch/watch" --arg path "$1" '
            {path: $path, links: "whole", direction: "down", streams: 1,
                gbit_per_s: (.bytes * 8 / .s / 1e9),
                cpu_s_per_gib: (.bytes as $bytes
                    | $watch[0].cpu_s | map_values(. / ($bytes / 1073741824)))}
            + ($watch[0] | del(.cpu_s))' "$scratch/curl.json" >>"$scratch/tcp"
        is_spoilt || counted=$((counted + 1))
    done
    report_on tcp whole down 1 "$1"
}

# tor_trips COUNT idle|down: requests for a small page, one after the other over one connection.
tor_trips() {
    local job='' sum
    begin_watch tor
    echo 0 >"$scratch/curl.bulk"
    if [[ $2 != idle ]]; then
        inside p0 curl -s -m $((seconds + 3)) --socks5 127.0.0.1:9050 -o /dev/null -w '%{speed_download}' \
            "http://$inet_v4/zeros" >"$scratch/curl.bulk" &
        job=$!
        sleep 1
    fi
    # The first request opens the connection; as many as fit into the time beside the load.
    inside p0 curl -s -m $((seconds + 1)) --socks5 127.0.0.1:9050 -o /dev/null \
        -w '%{num_connects} %{time_pretransfer} %{time_starttransfer}\n' \
        "http://$inet_v4/?[1-$1]" >"$scratch/curl.trips" || (($? == 28))
    [[ -z $job ]] || wait "$job" || (($? == 28))
    end_watch
    awk '$1 == 0 { print ($3 - $2) * 1000 }' "$scratch/curl.trips" >"$scratch/pings"
    sum=$(<"$scratch/curl.bulk")
    jq -c -n --slurpfile trips "$scratch/pings" --slurpfile watch "$scratch/watch" \
        --arg direction "$2" --argjson sent "$(wc -l <"$scratch/pings")" --argjson sum "$sum" '
        {path: "tor", ecn: false, direction: $direction,
            streams: (if $direction == "idle" then 0 else 1 end), sent: $sent, trips: $trips,
            gbit_per_s: ($sum * 8 / 1e9)} + ($watch[0] | del(.cpu_s))' >>"$scratch/trips"
    report_on trips tor no "$2" "$([[ $2 == idle ]] && echo 0 || echo 1)"
}

# tor_cold_starts COUNT: from the start of a client that knows nothing to the first byte of a page.
tor_cold_starts() {
    local count begun
    for ((count = 1; count <= $1; count++)); do
        echo "$count of $1" >&2
        end_process "$(<"$scratch/tor/client.pid")"
        rm -rf "$scratch/tor/client"
        mkdir -m 700 "$scratch/tor/client"
        begun=$EPOCHREALTIME
        tor_run_client
        until tor_fetch "http://$inet_v4/" 2>/dev/null; do sleep 0.02; done
        note_time 'tor cold start' "$begun"
    done
    say_times 'tor cold start'
}
