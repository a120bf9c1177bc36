//! What mails say: to whom, in which language, and nothing but what their texts say.

use cardea::mail::{Mail, Message, Recipient};
use cardea::scalar::{Date, DateTime};
use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use crate::harness::TestApp;
use crate::harness::app::{PASSWORD, config, email};

const LANGUAGES: [&str; 2] = ["de", "en"];

/// Every mail, with values that a text shows.
fn every_mail() -> Vec<Mail> {
    let link = || "https://cardea.test/page#token=crv_1".to_owned();
    let at: DateTime = DateTime("2026-07-01T21:30:00Z".parse().expect("an instant"));
    let on = Date("2026-12-24".parse().expect("a day"));
    let hours = 24;
    vec![
        Mail::VerifyEmail {
            link: link(),
            hours,
        },
        Mail::Invitation {
            link: link(),
            hours,
        },
        Mail::AlreadyRegistered,
        Mail::AddressInUse,
        Mail::ProviderLinked {
            provider: "Initech".to_owned(),
        },
        Mail::ProviderUnlinked {
            provider: "Initech".to_owned(),
        },
        Mail::ResetPassword {
            link: link(),
            hours: 1,
        },
        Mail::ConfirmEmailChange {
            link: link(),
            hours,
        },
        Mail::EmailChanged {
            new_email_masked: "e***@e***.org".to_owned(),
            link: link(),
            hours,
        },
        Mail::EmailChangeUndone {
            link: Some(link()),
            hours: 24,
        },
        Mail::EmailChangeUndone {
            link: None,
            hours: 24,
        },
        Mail::PasswordChanged {
            forgot_link: link(),
        },
        Mail::PasskeyAdded {
            forgot_link: link(),
        },
        Mail::PasskeyRemoved {
            forgot_link: link(),
        },
        Mail::NewDevice {
            at,
            ip: "2001:db8::7".to_owned(),
            user_agent: Some("curl/8.5.0".to_owned()),
        },
        Mail::SessionReuse,
        Mail::TwoFactorEnabled,
        Mail::TwoFactorDisabled,
        Mail::TwoFactorReset,
        Mail::RecoveryCodesReplaced,
        Mail::RecoveryCodeUsed { left: 9 },
        Mail::WrongCodes {
            forgot_link: link(),
        },
        Mail::AccountClosed {
            link: Some(link()),
            hours,
        },
        Mail::AccountClosed { link: None, hours },
        Mail::ReactivateAccount {
            link: link(),
            hours,
        },
        Mail::AccountReopened,
        Mail::PasswordExpires { days: 14, on },
    ]
    .into_iter()
    .chain(mails_before_an_account_goes(at, on))
    .collect()
}

fn mails_before_an_account_goes(at: DateTime, on: Date) -> Vec<Mail> {
    let link = || "https://cardea.test/page#token=crv_1".to_owned();
    let hours = 24;
    vec![
        Mail::AccountClosedUnused {
            link: link(),
            hours,
            erased_on: Some(on),
        },
        Mail::AccountClosedUnused {
            link: link(),
            hours,
            erased_on: None,
        },
        Mail::ErasureScheduled {
            at,
            link: None,
            hours,
        },
        Mail::ErasureScheduled {
            at,
            link: Some(link()),
            hours,
        },
        Mail::ErasureOfClosedAccount { at },
        Mail::ErasureCancelled,
        Mail::ErasureImpossible,
        Mail::InactivityWarning {
            last_used_on: on,
            closed_on: Some(on),
            erased_on: Some(on),
        },
        Mail::InactivityWarning {
            last_used_on: on,
            closed_on: Some(on),
            erased_on: None,
        },
        Mail::InactivityWarning {
            last_used_on: on,
            closed_on: None,
            erased_on: None,
        },
    ]
}

fn recipient(language: &str) -> Recipient {
    Recipient {
        name: "Ada Lovelace".to_owned(),
        email: "ada@example.org".to_owned(),
        language: language.to_owned(),
        timezone: "Europe/Vienna".to_owned(),
    }
}

fn render(mail: &Mail, recipient: &Recipient) -> Message {
    let config = config(&["--product-name=Acme"]);
    mail.render(&config, recipient, Uuid::nil())
        .expect("a sound template")
}

/// The words of the page, without its head and its marks.
fn words(html: &str) -> String {
    let (_, body) = html.split_once("</h1>").expect("a heading");
    let mut words = String::new();
    let mut rest = body;
    while let Some((before, tag)) = rest.split_once('<') {
        words.push_str(before);
        words.push(' ');
        rest = tag.split_once('>').expect("a whole tag").1;
    }
    let words = words
        .replace("&#x2f;", "/")
        .replace("&#x27;", "'")
        .replace("&quot;", "\"");
    words
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[test]
fn every_mail_is_whole_in_every_language() {
    for language in LANGUAGES {
        for mail in every_mail() {
            let message = render(&mail, &recipient(language));
            let Message {
                subject,
                text,
                html,
                ..
            } = &message;
            assert_eq!(message.language, language);
            assert!(html.starts_with(&format!("<!doctype html>\n<html lang=\"{language}\">")));
            assert!(
                !subject.is_empty() && subject.len() < 80 && !subject.contains('\n'),
                "{subject}"
            );
            assert!(
                subject.contains("Acme") && text.ends_with("Acme\n"),
                "{text}"
            );
            for part in [subject, text, html] {
                for left in ["{{", "}}", "{%", "](", "undefined", "none"] {
                    let css = left == "none" && part.contains("<html");
                    assert!(css || !part.contains(left), "{left} in {part}");
                }
            }
            let links: Vec<_> = text
                .lines()
                .filter(|line| line.starts_with("http"))
                .collect();
            assert_eq!(message.links, links);
            // The page says what the text says, word for word, and shows each address besides.
            let said = |text: &str| -> Vec<String> {
                let words = text.split(|c: char| c.is_whitespace() || ":-".contains(c));
                words
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            let page = words(html);
            let text = text.strip_suffix("Acme\n").expect("the signature");
            assert_eq!(said(&page), said(text), "{language} {mail:?}");
        }
    }
}

#[test]
fn a_name_is_shown_only_to_whom_it_is_known_to_belong() {
    for mail in every_mail() {
        for language in LANGUAGES {
            let message = render(&mail, &recipient(language));
            let stranger = matches!(
                mail,
                Mail::VerifyEmail { .. }
                    | Mail::Invitation { .. }
                    | Mail::ConfirmEmailChange { .. }
            );
            assert_eq!(message.text.contains("Ada Lovelace"), !stranger, "{mail:?}");
            assert_eq!(message.html.contains("Ada Lovelace"), !stranger, "{mail:?}");
        }
    }
}

#[test]
fn no_name_makes_markup_a_paragraph_a_list_a_link_or_a_header() {
    let name = "<img src=x onerror=alert(1)>\r\nBcc: eve@example.org\r\n\r\n- one\n\n[Pay](https://evil.example)\n\n{{ link }}";
    let hostile = Recipient {
        name: name.to_owned(),
        ..recipient("en")
    };
    let flat = "<img src=x onerror=alert(1)> Bcc: eve@example.org - one [Pay](https://evil.example) {{ link }}";
    for mail in every_mail() {
        let plain = render(&mail, &recipient("en"));
        let message = render(&mail, &hostile);
        assert_eq!(message.subject, plain.subject);
        assert_eq!(message.links, plain.links);
        assert!(!message.html.contains("<img"), "{}", message.html);
        let tags = |html: &str| html.matches('<').count();
        assert_eq!(tags(&message.html), tags(&plain.html), "{mail:?}");
        let paragraphs = |text: &str| text.split("\n\n").count();
        assert_eq!(
            paragraphs(&message.text),
            paragraphs(&plain.text),
            "{mail:?}"
        );
        assert!(
            !message
                .text
                .lines()
                .any(|line| line.starts_with("Bcc:") || line.starts_with("- one"))
        );
        if !matches!(
            mail,
            Mail::VerifyEmail { .. } | Mail::Invitation { .. } | Mail::ConfirmEmailChange { .. }
        ) {
            let line = message
                .text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(line.contains(&format!("Hello {flat},")), "{line}");
        }
    }
}

#[test]
fn a_sign_in_is_told_in_the_time_of_the_person_and_repeats_nothing_of_the_program_s_header() {
    let at = DateTime("2026-07-01T21:30:00Z".parse().expect("an instant"));
    let spam = Some("Win at https://evil.example".to_owned());
    let mail = Mail::NewDevice {
        at,
        ip: "192.0.2.7".to_owned(),
        user_agent: spam,
    };
    for (language, timezone, when) in [
        (
            "en",
            "Europe/Vienna",
            "- When: 1 July 2026 at 23:30 (CEST)\n",
        ),
        (
            "de",
            "Europe/Vienna",
            "- Wann: 1. Juli 2026 um 23:30 Uhr (CEST)\n",
        ),
        (
            "de-CH",
            "Asia/Tokyo",
            "- Wann: 2. Juli 2026 um 06:30 Uhr (JST)\n",
        ),
        ("fr", "nowhere", "- When: 1 July 2026 at 21:30 (UTC)\n"),
    ] {
        let recipient = Recipient {
            timezone: timezone.to_owned(),
            ..recipient(language)
        };
        let text = render(&mail, &recipient).text;
        assert!(text.contains(when), "{text}");
        assert!(!text.contains("evil"), "{text}");
    }
}

#[test]
fn one_and_many_are_written_as_the_language_does() {
    let on = Date("2026-12-24".parse().expect("a day"));
    for (language, days, subject) in [
        ("en", 0, "Your password at Acme expires today"),
        ("en", 1, "Your password at Acme expires tomorrow"),
        ("en", 2, "Your password at Acme expires in 2 days"),
        ("de", 1, "Dein Passwort bei Acme läuft morgen ab"),
        ("de", 7, "Dein Passwort bei Acme läuft in 7 Tagen ab"),
    ] {
        let message = render(&Mail::PasswordExpires { days, on }, &recipient(language));
        assert_eq!(message.subject, subject);
    }
    for (language, hours, told) in [
        ("en", 1, "for 1 hour and"),
        ("en", 2, "for 2 hours and"),
        ("de", 1, "gilt 1 Stunde und"),
        ("de", 48, "gilt 48 Stunden und"),
    ] {
        let mail = Mail::ResetPassword {
            link: "https://cardea.test/".to_owned(),
            hours,
        };
        assert!(render(&mail, &recipient(language)).text.contains(told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_written_to_in_the_language_of_their_profile_from_the_first_mail_on() {
    let app = TestApp::new().await;
    let register = async |language: Option<&str>| {
        let mut input = json!({ "email": email("ada"), "fullName": "Ada", "password": PASSWORD });
        if let Some(language) = language {
            input["language"] = json!(language);
        }
        let register =
            "mutation($input: RegisterInput!) { register(input: $input) { errors { code } } }";
        let answer = app.gql(register, json!({ "input": input })).await;
        assert_eq!(answer.data("register/errors"), &json!([]));
    };
    register(Some("de-AT")).await;
    let token = app.mailed_token(&email("ada")).await;
    assert_eq!(app.mails()[0].language, "de");
    let verify = "mutation($token: String!) { verifyEmail(input: { token: $token }) { errors { message } } }";
    app.gql(verify, json!({ "token": token })).await;
    // The language that a stranger asks for is not that of the owner.
    app.advance(TimeDelta::seconds(61));
    register(Some("en")).await;
    app.run_jobs().await;
    assert_eq!(app.mails()[0].subject, "Du hast schon ein Konto bei Cardea");
    app.db.sql("UPDATE profiles SET language = 'fr-CA'").await;
    app.advance(TimeDelta::seconds(61));
    register(None).await;
    app.run_jobs().await;
    assert_eq!(
        app.mails()[0].subject,
        "You already have an account at Cardea"
    );
}
