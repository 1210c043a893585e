//! The completion scripts: each asks `stead complete` what could come next.

/// The script of a shell.
///
/// # Errors
/// A shell there is no script for.
pub(crate) fn completion(shell: &str) -> Result<&'static str, String> {
    match shell {
        "bash" => Ok(BASH),
        "zsh" => Ok(ZSH),
        "fish" => Ok(FISH),
        other => Err(format!("no completion for '{other}': bash, zsh or fish")),
    }
}

/// What `stead complete` prints where a path may stand.
pub(crate) const FILES_MARK: &str = "\u{1}files";

const BASH: &str = r#"# Completion for stead. Load it with: source <(stead completion bash)
_stead() {
    local line=${COMP_LINE:0:COMP_POINT} words current begun found
    read -ra words <<<"${line//[\"\']/}"
    [[ $line == *[[:blank:]] ]] && words+=("")
    current=${words[-1]}
    # What follows a colon or an equals sign is a word of its own for bash: only that is completed.
    begun=${current%"${current##*[:=]}"}
    found=$("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
    if [[ $found == $'\001files' ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${current#"$begun"}")
    else
        COMPREPLY=()
        [[ -n $found ]] && mapfile -t COMPREPLY <<<"$found"
        COMPREPLY=("${COMPREPLY[@]#"$begun"}")
    fi
}
complete -F _stead stead
"#;

const ZSH: &str = r#"#compdef stead
# Completion for stead. Load it with: source <(stead completion zsh)
_stead() {
    local found
    found=$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if [[ $found == $'\001files' ]]; then
        _files
    elif [[ -n $found ]]; then
        compadd -- "${(@f)found}"
    fi
}
if [[ $funcstack[1] == _stead ]]; then _stead "$@"; else compdef _stead stead; fi
"#;

const FISH: &str = r#"# Completion for stead. Load it with: stead completion fish | source
function __stead_complete
    set -l words (commandline -opc)
    set -l found ($words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
    if test "$found" = \x01files
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $found
    end
end
complete -c stead -f -a '(__stead_complete)'
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_asks_the_program() {
        for shell in ["bash", "zsh", "fish"] {
            assert!(
                completion(shell).expect(shell).contains(" complete -- "),
                "{shell}"
            );
        }
        assert!(completion("tcsh").is_err());
    }
}
