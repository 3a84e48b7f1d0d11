# bash completion of PROGRAM. A MAC's colons part no words here, so that the words are
# read from the line, and what stands before the last colon is left out of the replies.
_PROGRAM() {
  local -a words
  local cur line
  read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
  case ${COMP_LINE:0:COMP_POINT} in
    *[[:space:]]) cur= ;;
    *) cur=${words[${#words[@]} - 1]} words=("${words[@]:0:${#words[@]} - 1}") ;;
  esac
  local before=${cur%"${cur##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then
      compopt -o filenames
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${cur#"$before"}")
    else
      line=${line%%$'\t'*}
      COMPREPLY+=("${line#"$before"}")
    fi
  done < <("${words[0]}" completion words -- "${words[@]:1}" "$cur" 2>/dev/null)
}
complete -F _PROGRAM PROGRAM
