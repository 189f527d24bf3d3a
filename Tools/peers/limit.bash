# shellcheck shell=bash
# The limit: a prototype in C of the bare data path, of which --limit names the source. It shows
# what the machine could do; it is not part of this project. Its command line:
#
#   client|exit TUN ADDRESS:PORT PEER:PORT [OPTION…]
#   relay 1|2 ADDRESS:PORT PEER:PORT ADDRESS:PORT PEER:PORT [OPTION…]
#
# Sourced after guests.bash, never run.

path_host[limit]=p0
limit_tunnel=limit0

limit_missing() {
    if [[ -z $limit ]]; then
        echo 'no --limit FILE.c was given'
    elif ! type -P cc >/dev/null; then
        echo 'there is no C compiler (Debian: gcc)'
    fi
}

limit_version() {
    sha256sum "$limit" | cut -c -12
}

# compile_limit: builds it as it asks for.
compile_limit() {
    cc -O2 -march=native -w -o "$scratch/limit" "$limit" -lsodium -lIPSec_MB -lpthread
    echo "${limit##*/}, $(limit_version)"
}

# limit_node ROLE HOST ARGUMENT…: starts a node of it.
limit_node() {
    start_guest "$2" "limit-$1" "$scratch/limit" "${@:3}"
    echo "$1 $guest" >>"$scratch/limit.nodes"
}

# limit_start OPTION…: brings it up with these options of its own.
limit_start() {
    local a0 a1 a2 a3 host inner
    a0=$(address p0) a1=$(address p1) a2=$(address p2) a3=$(address p3)
    : >"$scratch/limit.nodes"
    for host in p0 p3; do
        inside "$host" ip tuntap add dev "$limit_tunnel" mode tun vnet_hdr
        case $host in p0) inner=10.77.0.2/24 ;; p3) inner=10.77.0.1/24 ;; esac
        inside "$host" ip addr add "$inner" dev "$limit_tunnel"
        inside "$host" ip link set "$limit_tunnel" mtu 1280 up
    done
    open_guest p3
    hide p3 10.77.0.0/24
    inside p0 ip route add "$inet_v4/32" via 10.77.0.1 dev "$limit_tunnel"
    limit_node client p0 client "$limit_tunnel" "$a0:7000" "$a1:7001" "$@"
    limit_node guard p1 relay 1 "$a1:7001" "$a0:7000" "$a1:7002" "$a2:7001" "$@"
    limit_node middle p2 relay 2 "$a2:7001" "$a1:7002" "$a2:7002" "$a3:7000" "$@"
    limit_node exit p3 exit "$limit_tunnel" "$a3:7000" "$a2:7002" "$@"
    await_path "$limit_tunnel" "$scratch"/limit-*.log
}
