# shellcheck shell=bash
# How the tools beside this file talk: words, colours, and steps that show how long they take.
# Sourced, never run. Steps need a folder for their output, $scratch, which the tool makes.

shopt -s extglob

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' yellow='' plain=''
fi
# shellcheck disable=SC2034  # Not every tool draws with all of them.
case $(locale charmap 2>/dev/null) in
UTF-8) tick=✓ cross=✗ dots=… line=─ double=═ node=● ;;
*) tick=+ cross=x dots='~' line=- double='=' node=o ;;
esac

# die WHAT WHY HINT: ends the tool with an error in three lines.
die() {
    printf '%serror: %s%s\n%s\nhint: %s\n' "$red" "$1" "$plain" "$2" "$3" >&2
    exit 1
}

# rule WIDTH CHARACTER: a line of that many characters.
rule() {
    local text
    printf -v text '%*s' "$1" ''
    printf '%s' "${text// /$2}"
}

# heading TEXT: opens a part of the output.
heading() {
    printf '\n%s%s %s %s%s\n' "$bold" "$(rule 2 "$line")" "$1" \
        "$(rule $((75 - ${#1})) "$line")" "$plain"
}

# Seconds after which a step is ended as failed.
step_limit=60
# The group of the step that runs now; empty between steps.
step_group=''
# The labels of the steps that failed.
failed_steps=()
checked_steps=0
# How the last step ended: 0 where it did what it says.
step_status=0

# step LABEL COMMAND…: runs a command or function, shows that it goes on, and then how it ended.
#
# What it prints is shown as the step's result; what it says on stderr only where it fails. The
# caller goes on either way: `failed_steps` remembers. While it runs, a terminal shows the last line
# it said on stderr.
step() {
    local label=$1 begun=$EPOCHREALTIME deadline=$((SECONDS + step_limit)) status=0
    local result uncoloured elapsed
    shift
    checked_steps=$((checked_steps + 1))
    # A group of its own, so that all of it can be ended.
    set -m
    (
        set -e
        "$@"
    ) >"$scratch/step.out" 2>"$scratch/step.err" </dev/null &
    step_group=$!
    set +m
    while kill -0 "$step_group" 2>/dev/null; do
        [[ ! -t 1 ]] || step_progress "$label" "$begun"
        if ((SECONDS > deadline)); then
            echo "ended after $step_limit s" >>"$scratch/step.err"
            kill -KILL -- "-$step_group" 2>/dev/null || true
        fi
        sleep 0.1
    done
    wait "$step_group" || status=$?
    step_group=''
    # shellcheck disable=SC2034  # Not every tool asks.
    step_status=$status
    elapsed=$(seconds_since "$begun")
    result=$(<"$scratch/step.out")
    uncoloured=${result//$'\e['+([0-9])m/}
    [[ ! -t 1 ]] || printf '\r\e[K'
    if ((status == 0)); then
        # Colours have no width: what they add is taken off before the time is put on the right.
        printf '  %s%s%s %-18s %s %s%*s s%s\n' "$green" "$tick" "$plain" "$label" "$result" \
            "$dim" "$((${#uncoloured} < 53 ? 53 - ${#uncoloured} : 1))" "$elapsed" "$plain"
    else
        failed_steps+=("$label")
        printf '  %s%s %-18s failed after %s s%s\n' "$red" "$cross" "$label" "$elapsed" "$plain"
        tail -q -n 12 "$scratch/step.out" "$scratch/step.err" | sed -e '/^$/d' -e 's/^/      /'
    fi
}

# step_progress LABEL BEGUN: rewrites the line of the step that runs.
step_progress() {
    local latest
    latest=$(tail -n 1 "$scratch/step.err")
    printf '\r\e[K  %s%s%s %-18s %s%s s  %.44s%s' \
        "$yellow" "$dots" "$plain" "$1" "$dim" "$(seconds_since "$2")" "$latest" "$plain"
}

# end_step: ends the step that runs, if one does, and waits until all of it is gone.
end_step() {
    local deadline=$((SECONDS + 5))
    [[ -n $step_group ]] || return 0
    kill -TERM -- "-$step_group" 2>/dev/null || true
    while kill -0 -- "-$step_group" 2>/dev/null; do
        ((SECONDS <= deadline)) || kill -KILL -- "-$step_group" 2>/dev/null || true
        sleep 0.05
    done
    step_group=''
}

# seconds_since BEGUN: the time since $EPOCHREALTIME was BEGUN, to a tenth.
seconds_since() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}
