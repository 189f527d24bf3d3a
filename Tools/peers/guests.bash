# shellcheck shell=bash
# What the peers have in common: four hosts of the lab, p0 to p3, for client, guard, middle and exit.
# Sourced after measure.bash, never run. Each peer's file has PEER_missing, which says why it cannot
# run or nothing, PEER_version, and PEER_start; close_guests ends any of them.

guest_hosts=(p0 p1 p2 p3)

# address HOST: its IPv4 address.
address() {
    about "$1" '.addresses[0]'
}

# start_guest HOST NAME PROGRAM…: starts a program on a host; its process is $guest, its output in
# $scratch/NAME.log.
start_guest() {
    local host=$1 name=$2
    shift 2
    # In the place of its shell, so that $! is the program itself.
    (exec ip netns exec "$lab_name-$host" "$@") >"$scratch/$name.log" 2>&1 </dev/null &
    guest=$!
}

# open_guest HOST: lets it forward packets, whichever way they come.
open_guest() {
    inside "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
        net.ipv4.conf.eth0.rp_filter=0
}

# hide HOST NETWORK: lets the network's packets leave HOST under its own address.
hide() {
    inside "$1" nft -f - <<END
table ip hide {
    chain leaving {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr $2 masquerade
    }
}
END
}

# await_path TUNNEL LOG…: until the server answers through that interface.
await_path() {
    local tries way
    for ((tries = 1; tries <= 20; tries++)); do
        ! inside p0 ping -n -q -c 1 -W 0.5 "$inet_v4" >/dev/null || break
    done
    way=$(inside p0 ip route get "$inet_v4")
    if ((tries > 20)) || [[ $way != *" dev $1 "* ]]; then
        echo "no path: $way" >&2
        tail -q -n 3 "${@:2}" >&2
        return 1
    fi
}

# close_guests: ends what runs there, and takes away its interfaces, routes and rules.
close_guests() {
    local host interface
    end_guests
    for host in "${guest_hosts[@]}"; do
        inside "$host" nft flush ruleset
        for interface in $(inside "$host" ip -json link | jq -r '.[].ifname'); do
            [[ $interface == lo || $interface == eth0 ]] || inside "$host" ip link del "$interface"
        done
    done
}
