//! Splits a command line into words as a shell would, without being one.

/// Words with `'...'`, `"..."` and `\` understood. A pipe, a redirection, a `;` or a `$` outside single quotes is refused rather than
/// passed on as an argument: whoever writes one expects a shell, and a shell hides the status of all but the last command.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(inner) => word.push(inner),
                        None => return Err(format!("a ' is not closed in {line:?}")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => match rest.next() {
                            Some(inner @ ('"' | '\\' | '$' | '`')) => word.push(inner),
                            Some(inner) => word.extend(['\\', inner]),
                            None => return Err(format!("a \" is not closed in {line:?}")),
                        },
                        Some(special @ ('$' | '`')) => return Err(needs_shell(special, line)),
                        Some(inner) => word.push(inner),
                        None => return Err(format!("a \" is not closed in {line:?}")),
                    }
                }
            }
            '\\' => match rest.next() {
                Some(inner) => word.get_or_insert_default().push(inner),
                None => return Err(format!("{line:?} ends in a backslash")),
            },
            special @ ('|' | '&' | ';' | '<' | '>' | '$' | '`' | '(' | ')') => return Err(needs_shell(special, line)),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.is_empty() { Err("the command is empty".into()) } else { Ok(words) }
}

fn needs_shell(special: char, line: &str) -> String {
    format!("{special:?} in {line:?} needs a shell; quote it, or name the shell: bash -c 'set -o pipefail; ...'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_a_shell_would_see() {
        assert_eq!(split("slapcat -n 1").unwrap(), ["slapcat", "-n", "1"]);
        assert_eq!(split(r#"a 'b c' "d \"e" f\ g '' "#).unwrap(), ["a", "b c", "d \"e", "f g", ""]);
        assert_eq!(split(r#"bash -c 'set -o pipefail; x | y'"#).unwrap(), ["bash", "-c", "set -o pipefail; x | y"]);
        assert_eq!(split(r"x --name=a'b'c").unwrap(), ["x", "--name=abc"]);
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for line in ["a | b", "a; b", "a > b", "echo $HOME", "echo \"$HOME\"", "a && b", "`a`", "$(a)"] {
            assert!(split(line).unwrap_err().contains("needs a shell"), "{line}");
        }
        for line in ["", "  ", "'a", "\"a", "a\\"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
