
# Snapshots and sources come from the repository; everything else is fixed.
_esker() {
    local word says answered=""
    local -a found shown
    while IFS=$'\t' read -r word says; do
        answered=yes
        [[ -n "$word" ]] || continue
        found+=("$word")
        shown+=("$word  $says")
    done < <("${(Q)words[1]}" completions zsh -- "${(@)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null </dev/null)
    if [[ -z "$answered" ]]; then
        _esker_fixed "$@"
    else
        (( $#found )) && compadd -V esker -l -d shown -a found
    fi
}
