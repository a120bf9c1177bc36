//! Which passwords are too common to take: those of a list, and those that are made of one in a way
//! that everybody knows. It knows nothing of who asks.

/// Lower-cased passwords that people use most, one a line, sorted by bytes; `data/README.md` names
/// the source.
const LIST: &str = include_str!("../../data/common-passwords.txt");

/// Longest listed password, in characters.
const LONGEST: usize = 33;

/// Shortest listed password that is looked for between other characters; shorter ones are in
/// everything.
const SHORTEST_CORE: usize = 4;

/// Most steps (see [`steps`]) of the characters around a listed password: a year with a mark on
/// either side, or a date. With one more, guessing takes as long as with eight random letters.
const MOST_STEPS: usize = 6;

/// Most characters around a listed password, which bounds the work on `111111111111x`.
const MOST_AROUND: usize = 12;

/// Fewest steps of a password that does more than count on or repeat itself.
const FEWEST_STEPS: usize = 4;

/// Whether `password` is among the first that somebody who guesses would try.
///
/// That is what is listed, whatever the case; a listed password with a few digits and marks around
/// it (`Password1!`) or with look-alikes for letters (`P@ssw0rd2024!`); one that is repeated
/// (`monkeymonkey`); and what only counts on or repeats itself (`123456789012345`).
#[must_use]
pub fn is_common(password: &str) -> bool {
    let folded: Vec<char> = password.to_lowercase().chars().collect();
    if steps(&folded) < FEWEST_STEPS {
        return true;
    }
    let mark = |c: &&char| !c.is_alphabetic();
    let before = folded.iter().take_while(mark).count();
    let after = folded.iter().rev().take_while(mark).count();
    let most = |marks: usize, taken: usize| marks.min(MOST_AROUND - taken);
    (0..=most(before, 0)).any(|start| {
        (0..=most(after, start)).any(|cut| {
            let (head, rest) = folded.split_at(start);
            let (core, tail) = rest.split_at(rest.len().saturating_sub(cut));
            let whole = start + cut == 0;
            (whole || core.len() >= SHORTEST_CORE)
                && steps(head) + steps(tail) <= MOST_STEPS
                && is_made_of_listed(core)
        })
    })
}

/// How much of `text` is to be remembered: its characters without those that repeat the one before
/// them or count on from it. `1234` and `!!!!` are one step each.
fn steps(text: &[char]) -> usize {
    let counts = |a: char, b: char| {
        a.is_alphanumeric() && b.is_alphanumeric() && u32::from(a).abs_diff(u32::from(b)) == 1
    };
    let pairs = text.windows(2);
    let followers = pairs.filter(|pair| pair[0] == pair[1] || counts(pair[0], pair[1]));
    text.len() - followers.count()
}

/// Whether `core`, or what it repeats, is listed, perhaps with look-alikes.
fn is_made_of_listed(core: &[char]) -> bool {
    is_disguised(core)
        || repeated(core).any(|unit| steps(unit) < FEWEST_STEPS || is_disguised(unit))
}

/// Each text that gives `text` when it is repeated; what is listed may be a repetition itself.
fn repeated(text: &[char]) -> impl Iterator<Item = &[char]> {
    let length = text.len();
    (1..=length / 2)
        .filter(move |unit| length.is_multiple_of(*unit) && text[*unit..] == text[..length - unit])
        .map(|unit| &text[..unit])
}

/// Whether `text` is listed, or becomes so with letters in the place of their look-alikes.
fn is_disguised(text: &[char]) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let plain: String = text.iter().collect();
    is_listed(&plain)
        || ['i', 'l'].into_iter().any(|one| {
            let undone = without_look_alikes(text, one);
            undone != plain && is_listed(&undone)
        })
}

/// `text` with letters in the place of the digits and marks that look like them; `1` and `!` may be
/// an i or an l.
fn without_look_alikes(text: &[char], one: char) -> String {
    let letter = |c: &char| match c {
        '@' | '4' => 'a',
        '3' | '€' => 'e',
        '1' | '!' | '|' => one,
        '0' => 'o',
        '$' | '5' => 's',
        '7' | '+' => 't',
        other => *other,
    };
    text.iter().map(letter).collect()
}

/// Whether the list holds `text`, by bisection.
fn is_listed(text: &str) -> bool {
    let mut rest = LIST;
    while !rest.is_empty() {
        // The line in the middle: it begins behind the last line break before it.
        let middle = rest.floor_char_boundary(rest.len() / 2);
        let start = rest[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = rest[start..].find('\n').map_or(rest.len(), |at| start + at);
        match text.cmp(&rest[start..end]) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => rest = &rest[..start],
            std::cmp::Ordering::Greater => rest = rest.get(end + 1..).unwrap_or_default(),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(listed: impl Fn(&str) -> bool) {
        let missed: Vec<_> = LIST.lines().filter(|line| !listed(line)).collect();
        assert!(missed.is_empty(), "{} as {missed:?}", missed.len());
    }

    #[test]
    fn the_list_is_sorted_and_in_the_form_that_is_looked_for() {
        assert!(LIST.lines().is_sorted_by(|a, b| a < b));
        assert!(LIST.ends_with('\n') && !LIST.contains('\r'));
        assert_eq!(
            LIST.lines().map(|line| line.chars().count()).max(),
            Some(LONGEST)
        );
        each(|line| line == line.to_lowercase().trim() && !line.is_empty());
    }

    #[test]
    fn everything_listed_is_found_and_nothing_else() {
        each(is_listed);
        for other in [
            "",
            "\n",
            "correct",
            "password\n",
            "zzzzzzzzzzz",
            "\u{10ffff}",
            "passwor",
        ] {
            assert!(!is_listed(other), "{other:?}");
        }
    }

    #[test]
    fn everything_listed_is_common_in_capitals_twice_and_with_a_year_and_a_mark() {
        each(|line| is_common(&line.to_uppercase()));
        each(|line| is_common(&line.repeat(2)));
        each(|line| line.chars().count() < SHORTEST_CORE || is_common(&format!("!{line}2024")));
    }

    #[test]
    fn what_everybody_does_to_a_common_password_does_not_help() {
        for common in [
            "Password1!",
            "P@ssw0rd2024!",
            "P4$$w0rd_99",
            "Summer2024!",
            "!Summer2024!",
            "$unsh1ne-2024",
            "Monkey24121990",
            "1LoveYou!",
            "We1come!23",
            "W3lcome123#",
            "Qwertz123!",
            "MonkeyMonkey",
            "Monkey!Monkey!1",
            "passwordpassword",
            "Password1234567890",
            "123456789012345",
            "abcdefghijklmnop",
            "aaaaaaaaaaaaaaaaaaaa",
            "AAAAbbbb1111!!!!",
            "Ab1!Ab1!Ab1!Ab1!",
            "ПАРОЛЬ2024!",
        ] {
            assert!(is_common(common), "{common}");
        }
    }

    #[test]
    fn what_is_not_made_of_one_common_password_is_left_alone() {
        for fine in [
            "Correct-Horse-7",
            "Attackers-Pass-1",
            "Another-Pass-1",
            "correct horse battery staple",
            "correcthorsebatterystaple",
            "monkeysunshinedragon",
            "Ein Haus am Meer!",
            "Tr0ub4dor&3",
            "password is what I never use",
            "🦊🐻🐼🐨🐯🦁🐮🐷",
            "x7KqP2mW",
        ] {
            assert!(!is_common(fine), "{fine}");
        }
    }

    /// Numbers that look random and are the same in each run (xorshift64*).
    fn numbers(mut state: u64) -> impl FnMut(usize) -> usize {
        move |below| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            usize::try_from((state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below as u64)
                .expect("it is below")
        }
    }

    #[test]
    fn random_passwords_and_phrases_of_three_common_words_are_left_alone() {
        let mut next = numbers(7);
        let printable: Vec<char> = ('!'..='~').collect();
        let words: Vec<_> = LIST
            .lines()
            .filter(|line| line.len() >= 4 && line.bytes().all(|b| b.is_ascii_alphabetic()))
            .collect();
        for _ in 0..5_000 {
            let random: String = (0..12).map(|_| printable[next(printable.len())]).collect();
            assert!(!is_common(&random), "{random}");
            let phrase = [0; 3].map(|_| words[next(words.len())]);
            assert!(!is_common(&phrase.join("-")), "{phrase:?}");
        }
    }

    #[test]
    fn a_password_made_to_take_long_takes_no_longer() {
        let marks = "1!".repeat(250);
        let start = std::time::Instant::now();
        assert!(!is_common(&format!("{marks}x{marks}")));
        assert!(!is_common(&format!(
            "{}x5c7d{}",
            "1".repeat(500),
            "1".repeat(500)
        )));
        assert!(!is_common(&format!("{}x5c7e9", "x5c7d".repeat(200))));
        assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    }
}
