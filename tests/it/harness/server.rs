//! The real program as a server, and what callers do there over TCP.

use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::harness::app::{PASSWORD, email};
use crate::harness::client::Answer;
use crate::harness::http;
use crate::harness::process::{Outcome, Process, Program, until};

pub const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { \
    errors { code } result { ... on SignedIn { accessToken } } } }";
const REGISTER: &str = "mutation($input: RegisterInput!) { register(input: $input) { \
    errors { code path } result { __typename } } }";

/// A server that has said where it is.
pub struct Server<'a> {
    pub process: Process,
    pub address: SocketAddr,
    // The folder must outlive whoever works in it.
    program: PhantomData<&'a Program>,
}

impl Program {
    /// Starts the server and waits until it says where it is.
    #[track_caller]
    pub fn serve(&self) -> Server<'_> {
        let mut process = self.spawn(&[], "");
        let address = until("the server's address", || {
            if let Some(status) = process.ended() {
                panic!("the server ended with {status}: {}", process.stderr.text());
            }
            let told = process.stdout.text();
            let (_, rest) = told.split_once("127.0.0.1:")?;
            let (port, _) = rest.split_once(['/', '\n'])?;
            let port = port.parse().expect("a port");
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        });
        Server {
            process,
            address,
            program: PhantomData,
        }
    }
}

impl Server<'_> {
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.address, path)
    }

    pub fn gql(&self, query: &str, variables: &Value) -> Answer {
        http::gql(self.address, None, query, variables)
    }

    /// Runs a document without variables for who holds this access token.
    pub fn gql_as(&self, token: &str, query: &str) -> Answer {
        http::gql(self.address, Some(token), query, &Value::Null)
    }

    /// Registers `name@example.org`; the address is not proved.
    #[track_caller]
    pub fn register(&self, name: &str) {
        let input = json!({ "email": email(name), "fullName": format!("{name} Example"), "password": PASSWORD });
        let registered = self.gql(REGISTER, &json!({ "input": input }));
        let waits = json!({ "errors": [], "result": null });
        assert_eq!(registered.data("register"), &waits);
    }

    /// The token in the newest mail to `to`, once it is there.
    #[track_caller]
    pub fn mailed_token(&self, to: &str) -> String {
        let link = until("the mail", || {
            let mails = self.get("/inbox/messages.json").json;
            let mail = mails.as_array()?.iter().find(|mail| mail["to"] == to)?;
            Some(mail["links"][0].as_str()?.to_owned())
        });
        let page = format!("http://{}/verify-email#token=", self.address);
        let token = link.strip_prefix(&page);
        token.unwrap_or_else(|| panic!("{link}")).to_owned()
    }

    /// Signs in; gives the access token.
    #[track_caller]
    pub fn login(&self, identifier: &str, password: &str) -> String {
        let input = json!({ "identifier": identifier, "password": password });
        let answer = self.gql(LOGIN, &json!({ "input": input }));
        assert_eq!(answer.data("login/errors"), &json!([]));
        let token = answer.data("login/result/accessToken").as_str();
        token.expect("a token").to_owned()
    }

    /// Sends a signal and waits for the end.
    #[track_caller]
    pub fn stop(self, signal: &str) -> Outcome {
        self.process.signal(signal);
        self.process.wait()
    }
}
