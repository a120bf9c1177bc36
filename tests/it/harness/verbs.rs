//! What people do with their accounts, one request each.

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, Client, TestApp};

/// Another password that the policy takes.
pub const NEW_PASSWORD: &str = "Battery-Staple-8";

/// What a browser calls itself.
pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) { \
    errors { code path ... on TooManyAttemptsError { retryAfterSeconds } } \
    result { __typename ... on SignedIn { accessToken refreshToken session { id } user { id uuid } } \
    ... on TwoFactorRequired { challengeToken methods } ... on PasswordExpired { resetToken expiresAt } } } }";

/// A mutation that takes `input` of a type and answers with an account.
fn on_account(field: &str, input: &str) -> String {
    format!(
        "mutation($input: {input}!) {{ {field}(input: $input) {{ \
         errors {{ code path ... on InvalidValueError {{ rule }} ... on TooManyAttemptsError {{ retryAfterSeconds }} }} \
         user {{ id emailVerified status }} }} }}"
    )
}

/// A mutation that takes `input` of a type and says only whether it was taken in.
fn on_request(field: &str, input: &str) -> String {
    format!(
        "mutation($input: {input}!) {{ {field}(input: $input) {{ accepted \
         errors {{ code path ... on InvalidValueError {{ rule }} ... on TooManyAttemptsError {{ retryAfterSeconds }} }} }} }}"
    )
}

impl TestApp {
    pub async fn login(&self, identifier: &str, password: &str) -> Answer {
        self.gql(LOGIN, credentials(identifier, password)).await
    }

    /// Another session of `name`.
    pub async fn sign_in(&self, name: &str) -> Client<'_> {
        let answer = self.login(name, PASSWORD).await;
        Client::new(self, answer.data("login/result"))
    }

    pub async fn request_reset(&self, email: &str) -> Answer {
        let document = on_request("requestPasswordReset", "EmailInput");
        self.gql(&document, json!({ "input": { "email": email } }))
            .await
    }

    pub async fn resend(&self, email: &str) -> Answer {
        let document = on_request("resendVerification", "EmailInput");
        self.gql(&document, json!({ "input": { "email": email } }))
            .await
    }

    pub async fn reset(&self, token: &str, password: &str) -> Answer {
        let input = json!({ "input": { "token": token, "newPassword": password } });
        self.gql(&on_account("resetPassword", "ResetPasswordInput"), input)
            .await
    }

    /// A mailed token that sets the password of `email`.
    pub async fn reset_token(&self, email: &str) -> String {
        let answer = self.request_reset(email).await;
        assert_eq!(answer.data("requestPasswordReset/accepted"), true);
        self.mailed_token(email).await
    }

    pub async fn confirm_email(&self, token: &str) -> Answer {
        self.use_token("confirmEmailChange", token).await
    }

    pub async fn reactivate(&self, token: &str) -> Answer {
        self.use_token("reactivateAccount", token).await
    }

    async fn use_token(&self, field: &str, token: &str) -> Answer {
        self.gql(&on_account(field, "TokenInput"), input_token(token))
            .await
    }

    pub async fn verify(&self, token: &str) -> Answer {
        let document = "mutation($input: VerifyEmailInput!) { verifyEmail(input: $input) { errors { code } } }";
        self.gql(document, input_token(token)).await
    }

    /// What is kept of accounts, their sessions and tokens, and of jobs, as text. What limits count is
    /// left aside.
    pub async fn state(&self) -> String {
        let table = |columns: &str, table: &str| {
            format!(
                "query_to_xml('SELECT {columns} FROM {table} ORDER BY 1', true, false, '')::text"
            )
        };
        let tables = [
            table("*", "users"),
            table("*", "verification_tokens"),
            table("*", "email_changes"),
            table("*", "password_history"),
            table("id, user_id, revoked_at, authenticated_at", "sessions"),
            table("*", "jobs"),
        ];
        self.db
            .text(&format!("SELECT concat({})", tables.join(", ")))
            .await
    }

    /// How many sessions are live.
    pub async fn live_sessions(&self) -> String {
        let now = self.app.clock.now().to_rfc3339();
        let live = format!("revoked_at IS NULL AND expires_at > '{now}'");
        self.db
            .text(&format!("SELECT count(*)::text FROM sessions WHERE {live}"))
            .await
    }

    /// Subjects of the mails to `to`, the newest first, once the queue is empty.
    pub async fn subjects(&self, to: &str) -> Vec<String> {
        self.run_jobs().await;
        let mails = self.mails_to(to).into_iter();
        mails.map(|mail| mail.subject).collect()
    }

    /// Somebody at this network address.
    pub fn at(&self, ip: &str) -> Visitor {
        Visitor::of(&self.router, ip)
    }
}

/// Somebody without a session, somewhere.
pub struct Visitor {
    router: Router,
    ip: String,
    agent: String,
}

impl Visitor {
    /// Somebody at `ip` who talks to this server.
    pub fn of(router: &Router, ip: &str) -> Self {
        Self {
            router: router.clone(),
            ip: ip.to_owned(),
            agent: FIREFOX.to_owned(),
        }
    }

    /// The same person with another browser.
    pub fn with(mut self, agent: &str) -> Self {
        agent.clone_into(&mut self.agent);
        self
    }

    pub async fn gql(&self, query: &str, variables: Value) -> Answer {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let mut request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, &self.agent)
            .body(Body::from(body))
            .expect("a request");
        let ip: std::net::IpAddr = self.ip.parse().expect("an address");
        let peer = std::net::SocketAddr::from((ip, 5000));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.router.clone().oneshot(request).await;
        Answer::read(response.expect("the router always answers")).await
    }

    pub async fn reset(&self, token: &str, password: &str) -> Answer {
        let input = json!({ "input": { "token": token, "newPassword": password } });
        self.gql(&on_account("resetPassword", "ResetPasswordInput"), input)
            .await
    }

    /// Shows a mailed token to `confirmEmailChange` or `reactivateAccount`.
    pub async fn use_token(&self, field: &str, token: &str) -> Answer {
        self.gql(&on_account(field, "TokenInput"), input_token(token))
            .await
    }

    pub async fn login(&self, identifier: &str, password: &str) -> Answer {
        self.gql(LOGIN, credentials(identifier, password)).await
    }
}

impl Client<'_> {
    pub async fn change_password(&self, current: &str, new: &str) -> Answer {
        let input = json!({ "input": { "currentPassword": current, "newPassword": new } });
        self.gql(&on_account("changePassword", "ChangePasswordInput"), input)
            .await
    }

    pub async fn reset(&self, token: &str, password: &str) -> Answer {
        let input = json!({ "input": { "token": token, "newPassword": password } });
        self.gql(&on_account("resetPassword", "ResetPasswordInput"), input)
            .await
    }

    pub async fn reauthenticate(&self, password: &str) -> Answer {
        let document = "mutation($input: ConfirmIdentityInput!) { reauthenticate(input: $input) { \
            errors { code path ... on TooManyAttemptsError { retryAfterSeconds } } session { id } } }";
        self.gql(document, json!({ "input": { "password": password } }))
            .await
    }

    pub async fn request_email_change(&self, new_email: &str) -> Answer {
        let document = on_request("requestEmailChange", "RequestEmailChangeInput");
        self.gql(&document, json!({ "input": { "newEmail": new_email } }))
            .await
    }

    /// Asks to move to `new_email`; gives the token that confirms it.
    pub async fn email_change_token(&self, app: &TestApp, new_email: &str) -> String {
        let answer = self.request_email_change(new_email).await;
        assert_eq!(answer.data("requestEmailChange/accepted"), true);
        app.mailed_token(new_email).await
    }

    pub async fn confirm_email(&self, token: &str) -> Answer {
        let document = on_account("confirmEmailChange", "TokenInput");
        self.gql(&document, input_token(token)).await
    }

    pub async fn reactivate(&self, token: &str) -> Answer {
        let document = on_account("reactivateAccount", "TokenInput");
        self.gql(&document, input_token(token)).await
    }

    pub async fn deactivate(&self, password: &str) -> Answer {
        let document = on_account("deactivateAccount", "ConfirmIdentityInput");
        self.gql(&document, json!({ "input": { "password": password } }))
            .await
    }

    pub async fn set_status(&self, user: &str, is_active: bool, reason: Option<&str>) -> Answer {
        let input = json!({ "userId": user, "isActive": is_active, "reason": reason });
        let document = on_account("updateUserStatus", "UpdateUserStatusInput");
        self.gql(&document, json!({ "input": input })).await
    }

    pub async fn unlock(&self, user: &str) -> Answer {
        let document = on_account("unlockUser", "UserIdInput");
        self.gql(&document, json!({ "input": { "userId": user } }))
            .await
    }

    /// Whether the session lives.
    pub async fn is_signed_in(&self) -> bool {
        self.ask("{ me { id } }").await.status == axum::http::StatusCode::OK
    }
}

impl Answer {
    /// The code of the only error in the payload of the only field; empty where there is none.
    #[track_caller]
    pub fn code(&self) -> &str {
        assert!(self.json["errors"].is_null(), "{}", self.text);
        let data = self.json["data"].as_object().expect("data");
        let (_, payload) = data.iter().next().expect("a field");
        let errors = payload["errors"].as_array().expect("errors");
        assert!(errors.len() < 2, "{}", self.text);
        errors
            .first()
            .map_or("", |error| error["code"].as_str().expect("a code"))
    }

    /// The rules that the payload of the only field says are broken.
    pub fn rules(&self) -> Vec<&str> {
        let data = self.json["data"].as_object().expect("data");
        let errors = data.iter().next().expect("a field").1["errors"].as_array();
        let rules = errors.expect("errors").iter();
        rules.filter_map(|error| error["rule"].as_str()).collect()
    }

    /// The wait that the payload of the only field asks for, which the header tells, too.
    #[track_caller]
    pub fn wait(&self) -> u64 {
        assert_eq!(self.code(), "TOO_MANY_ATTEMPTS", "{}", self.text);
        let data = self.json["data"].as_object().expect("data");
        let (_, payload) = data.iter().next().expect("a field");
        let wait = payload["errors"][0]["retryAfterSeconds"]
            .as_u64()
            .expect("a wait");
        assert_eq!(self.header("retry-after"), Some(&*wait.to_string()));
        wait
    }
}

fn credentials(identifier: &str, password: &str) -> Value {
    json!({ "input": { "identifier": identifier, "password": password } })
}

fn input_token(token: &str) -> Value {
    json!({ "input": { "token": token } })
}
