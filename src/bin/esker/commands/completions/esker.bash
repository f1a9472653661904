
# Snapshots and sources come from the repository; everything else is fixed.
_esker() {
    local IFS=$' \t\n' line="${COMP_LINE:0:COMP_POINT}" count=$((COMP_CWORD + 1)) rest piece word answered=""
    local -a line_words=() found=()
    # Bash splits words at `:` and `=`. Pieces without a blank between them belong together.
    for piece in "${COMP_WORDS[@]:0:count}"; do
        rest="${line#"${line%%[![:space:]]*}"}"
        if [[ -n "$line" && "$line" == "$rest" && ${#line_words[@]} -gt 0 ]]; then
            line_words[${#line_words[@]}-1]+="$piece"
        else
            line_words+=("$piece")
        fi
        line="${rest#"$piece"}"
    done
    while IFS=$'\t' read -r word _; do
        answered=yes
        [[ -n "$word" ]] && found+=("$word")
    done < <("${COMP_WORDS[0]/#\~\//$HOME/}" completions bash -- "${line_words[@]}" 2>/dev/null </dev/null)
    if [[ -z "$answered" ]]; then
        _esker_fixed "$@"
    elif [[ ${#found[@]} -gt 0 ]]; then
        COMPREPLY=("${found[@]}")
    else
        # A path in a snapshot: no file of this machine fits there.
        COMPREPLY=()
        compopt +o default +o bashdefault 2>/dev/null
    fi
}
