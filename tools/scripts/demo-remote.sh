# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The second act of the demo, sourced by it: the checkpoint is on two other
# machines, each a network namespace on a wire of its own, and one of them is
# killed while it is loaded here, in a third.

readonly net=wfs-demo-$$
seeds=()

# Whatever of it there is goes away.
end_second_act()
{
	local i

	for i in "${seeds[@]}"; do
		kill -KILL "$i" 2>/dev/null || true
	done
	for i in here 1 2; do
		ip netns del "$net-$i" 2>/dev/null || true
	done
}

# on MACHINE CMD...: runs it there.  It shares our mounts, as it would not
# with "ip netns exec".
on()
{
	nsenter --net="/run/netns/$net-$1" -- "${@:2}"
}

make_machines()
{
	local i

	ip netns add "$net-here" && ip -n "$net-here" link set lo up || return
	for i in 1 2; do
		ip netns add "$net-$i" &&
			ip -n "$net-here" link add "to$i" type veth peer \
				name eth0 netns "$net-$i" &&
			ip -n "$net-here" address add "10.77.$i.1/24" \
				dev "to$i" &&
			ip -n "$net-here" link set "to$i" up &&
			ip -n "$net-$i" address add "10.77.$i.2/24" dev eth0 &&
			ip -n "$net-$i" link set eth0 up || return
	done
}

# seed_on MACHINE NAME MODEL: starts a seed there, and waits for the digests
# of what it has, so that both may be asked for every byte at once.
seed_on()
{
	local url=http://10.77.$1.2:7420 try

	printf '  $ weightfs seed --model %s=%s --listen 10.77.%s.2:7420\n' \
		"$2" "$3" "$1"
	# Not by `on`: its process would be a shell's that waits.
	nsenter --net="/run/netns/$net-$1" -- "$weightfs" seed -f \
		--model "$2=$3" --insecure --same-host=off --rate "$rate" \
		--listen "10.77.$1.2:7420" --log-level error \
		--digest-cache "$demo/digests" &
	seeds+=($!)
	disown # nobody is to tell that it was killed
	for ((try = 0; try < 300; try++)); do
		if on here curl -sf --noproxy '*' \
			"$url/v1/models/$2/manifest?wait=10" |
			grep -q '"xxh3": *null'; then
			continue
		fi
		on here curl -sf --noproxy '*' -o /dev/null "$url/healthz" &&
			return
		sleep 0.1
	done
	echo "  the seed on machine $1 does not answer" >&2
	return 1
}

second_act()
{
	local model=$1 name=$2 why rate

	title "Second act: the bytes are on other machines"
	if ((EUID != 0)) || ! why=$(make_machines 2>&1); then
		echo "  not shown: it takes root and network namespaces" \
			"${why:+(${why##*$'\n'})}"
		return
	fi
	rate=$("$python" "$reads" rate "$model" "$seen")
	echo "  Three machines, each a network namespace on a wire of its own:"
	echo "  two hold the checkpoint, the third has nothing of it, and reads"
	echo "  it through a mount. (Each seed sends $((rate / 1000000)) MB/s at" \
		"most here, so"
	echo "  that there is time to watch.)"
	seed_on 1 "$name" "$model"
	seed_on 2 "$name" "$model"
	printf '  $ weightfs mount --seed %s --seed %s %s\n' \
		http://10.77.1.2:7420 http://10.77.2.2:7420 "$mnt"
	mount_it on here --same-host=off --seed http://10.77.1.2:7420 \
		--seed http://10.77.2.2:7420
	show 20 ls -pC "$seen"

	title "Loaded over the network, and a seed is killed on the way"
	"$python" "$reads" lose "$model" "$seen" "${seeds[0]}"

	title "The same bytes"
	"$python" "$reads" compare "$model" "$seen"
	printf '  $ weightfs umount %s\n' "$mnt"
	unmount
}
