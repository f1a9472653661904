
# Snapshots and sources come from the repository; everything else is fixed.
function __fish_esker_asks
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -g __fish_esker_found ($before[1] completions fish -- $before "$current" 2>/dev/null </dev/null)
    test (count $__fish_esker_found) -gt 0
end

function __fish_esker_found
    printf '%s\n' $__fish_esker_found | string match -v ''
end

complete -c esker -k -n __fish_esker_asks -f -a '(__fish_esker_found)'
complete -c esker -k -n __fish_esker_asks -s s -l snapshot -x -a '(__fish_esker_found)'
complete -c esker -k -n __fish_esker_asks -l source -x -a '(__fish_esker_found)'
complete -c esker -k -n __fish_esker_asks -l only -x -a '(__fish_esker_found)'
