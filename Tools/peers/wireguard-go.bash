# shellcheck shell=bash
# WireGuard in user space (Debian: wireguard-go and wireguard-tools): one hop, or three nested, of
# which the client's machine encrypts all. Nested is the shape of an onion: each hop knows its
# neighbours only. Sourced after guests.bash, never run.

path_host["wireguard-1"]=p0
path_host["wireguard-3"]=p0

wireguard_missing() {
    if ! type -P wireguard-go >/dev/null; then
        echo 'there is no wireguard-go (Debian: wireguard-go)'
    elif ! type -P wg >/dev/null; then
        echo 'there is no wg (Debian: wireguard-tools)'
    fi
}

wireguard_version() {
    wireguard-go --version 2>/dev/null | sed -n '1s/.* v\?//p'
}

# with_sockets HOST PROGRAM…: as its arguments, to run in place of a shell that has put the host's
# own folder where WireGuard keeps its sockets. `ip netns exec` gives each program its own mounts.
with_sockets() {
    # shellcheck disable=SC2016  # The inner shell expands them.
    sockets=(sh -c 'mount --bind "$1" /run && shift && exec "$@"' - "$scratch/wireguard/$1/run")
}

wireguard_set() {
    local host=$1 sockets
    shift
    with_sockets "$host"
    inside "$host" "${sockets[@]}" wg set "$@"
}

# wireguard_interface ROLE HOST NAME ADDRESS MTU: an interface with a key of its own, and its daemon.
wireguard_interface() {
    local folder=$scratch/wireguard/$2 sockets tries
    mkdir -p "$folder/run/wireguard"
    with_sockets "$2"
    start_guest "$2" "wireguard-$2-$3" "${sockets[@]}" wireguard-go -f "$3"
    echo "$1 $guest" >>"$scratch/wireguard.daemons"
    for ((tries = 0; tries < 100; tries++)); do
        [[ ! -S $folder/run/wireguard/$3.sock ]] || break
        sleep 0.05
    done
    (umask 077 && wg genkey >"$folder/$3.key")
    wireguard_set "$2" "$3" private-key "$folder/$3.key" listen-port "5182${3#wg}"
    inside "$2" ip addr add "$4" dev "$3"
    inside "$2" ip link set "$3" mtu "$5" up
}

# wireguard_tunnel HOP NUMBER MTU ALLOWED: the client's interface wgNUMBER, to that of a hop, which
# may carry what goes to ALLOWED.
wireguard_tunnel() {
    local hop=$1 name=wg$2 inner=10.10.$2 roles=(client guard middle exit) client_key hop_key
    wireguard_interface client p0 "$name" "$inner.2/32" "$3"
    wireguard_interface "${roles[${hop#p}]}" "$hop" "$name" "$inner.1/32" "$3"
    client_key=$(wg pubkey <"$scratch/wireguard/p0/$name.key")
    hop_key=$(wg pubkey <"$scratch/wireguard/$hop/$name.key")
    wireguard_set p0 "$name" peer "$hop_key" allowed-ips "$4" \
        endpoint "$(address "$hop"):5182$2"
    wireguard_set "$hop" "$name" peer "$client_key" allowed-ips "$inner.2/32"
    inside "$hop" ip route add "$inner.2/32" dev "$name"
    # What goes on through this layer must bear its address, to be let in at the other end.
    inside p0 ip route add "$4" dev "$name" src "$inner.2"
    open_guest "$hop"
    hide "$hop" "$inner.2/32"
}

# wireguard_start 1|3: brings up one hop or three.
wireguard_start() {
    : >"$scratch/wireguard.daemons"
    if (($1 == 1)); then
        wireguard_tunnel p3 3 1420 "$inet_v4/32"
    else
        # Each layer takes 60 bytes, and the next layer's packets go through it.
        wireguard_tunnel p1 1 1420 "$(address p2)/32"
        wireguard_tunnel p2 2 1360 "$(address p3)/32"
        wireguard_tunnel p3 3 1300 "$inet_v4/32"
    fi
    awk '{ pids[$1] = pids[$1] " " $2 } END {
        split("client guard middle exit", roles, " ")
        for (i = 1; i <= 4; i++) if (roles[i] in pids) print roles[i] pids[roles[i]]
    }' "$scratch/wireguard.daemons" >"$scratch/wireguard-$1.nodes"
    await_path wg3 "$scratch"/wireguard-p*.log
}
