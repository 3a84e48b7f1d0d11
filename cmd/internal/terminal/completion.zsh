#compdef PROGRAM
# zsh completion of PROGRAM.
_PROGRAM() {
  local -a names shown
  local line files
  for line in ${(f)"$($words[1] completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
    if [[ $line == :files ]]; then
      files=1
    else
      names+=("${line%%$'\t'*}")
      shown+=("${line/$'\t'/  }")
    fi
  done
  if (( $#names )); then
    compadd -l -d shown -a names
  fi
  if [[ -n $files ]]; then
    _files
  fi
}
if [[ $funcstack[1] == _PROGRAM ]]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
