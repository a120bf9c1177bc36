// Each document is valid against the schema; the browser test fails when one no longer is.
const example = (query, variables) => ({
  query: query.trimStart(),
  variables: variables && JSON.stringify(variables, null, 2),
});

const password = 'Correct-Horse-7';

/** Example operations, one tab each, in the order in which a newcomer needs them. */
export const examples = [
  example(`
# Run this with the button on the right or Ctrl-Enter.
# Next: open an account in the tab Register.
query Welcome {
  viewer {
    isAuthenticated
    permissions
    user {
      fullName
    }
  }
  authOptions {
    registrationOpen
    passwordPolicy {
      minimumLength
      requiresDigit
      requiresLowercase
      requiresUppercase
      requiresSpecial
    }
  }
}
`),
  example(
    `
# Opens an account, with the variables below.
# Next: take the token from the mail, shown at /inbox.
mutation Register($input: RegisterInput!) {
  register(input: $input) {
    result {
      ... on EmailVerificationRequired {
        resendAvailableAt
      }
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { email: 'ada@example.com', fullName: 'Ada Lovelace', password } },
  ),
  example(
    `
# Put the token from the mail into the variables; in
# development the mail is at /inbox.
# Next: sign in, in the tab Login.
mutation VerifyEmail($input: VerifyEmailInput!) {
  verifyEmail(input: $input) {
    result {
      ... on SignedIn {
        accessToken
        user {
          email
          emailVerified
        }
      }
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { token: '' } },
  ),
  example(
    `
# Next: copy accessToken from the answer and paste it
# after "Bearer " under Headers. Every tab then sends it.
# With COOKIE instead of BODY the browser keeps the tokens
# itself, and Headers stay as they are.
mutation Login($input: LoginInput!) {
  login(input: $input) {
    result {
      ... on SignedIn {
        accessToken
        accessTokenExpiresAt
        refreshToken
        user {
          fullName
        }
      }
      ... on EmailVerificationRequired {
        resendAvailableAt
      }
      ... on TwoFactorRequired {
        challengeToken
        methods
      }
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { identifier: 'ada@example.com', password, rememberMe: false, tokenDelivery: 'BODY' } },
  ),
  example(`
# The signed-in account: null until the access token
# from the tab Login is under Headers, or in a cookie.
query Me {
  me {
    id
    uuid
    email
    emailVerified
    fullName
    createdAt
    roles {
      name
    }
    profile {
      bio
      language
      theme
      timezone
    }
  }
}
`),
  example(
    `
# Needs the token under Headers. Try other variables:
# a field that is left out stays, and null clears it.
mutation UpdateProfile($input: UpdateProfileInput!) {
  updateProfile(input: $input) {
    user {
      fullName
    }
    profile {
      bio
      theme
      timezone
      updatedAt
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { bio: 'Wrote the first program.', theme: 'DARK', timezone: 'Europe/London' } },
  ),
  example(`
# Where the account is signed in. revokeSession ends one of
# these by its id, logout this one, logoutAll every one.
query Sessions {
  sessions(first: 10) {
    nodes {
      id
      current
      userAgent
      ipAddress
      createdAt
      lastAccessedAt
      expiresAt
    }
  }
}
`),
  example(
    `
# Needs a session. Every other session of the account ends.
mutation ChangePassword($input: ChangePasswordInput!) {
  changePassword(input: $input) {
    user {
      updatedAt
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { currentPassword: password, newPassword: 'Shiny-Marble-42' } },
  ),
  example(
    `
# Needs no session. The answer is the same whether or not
# there is such an account; the mail is at /inbox, and its
# link leads to a page of this server, or to yours.
mutation RequestPasswordReset($input: EmailInput!) {
  requestPasswordReset(input: $input) {
    accepted
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { email: 'ada@example.com' } },
  ),
  example(
    `
# For administrators: needs the permission read:all.
# Next page: put endCursor into the variable after.
query Users($first: Int, $after: String, $search: String) {
  users(first: $first, after: $after, search: $search) {
    totalCount
    pageInfo {
      hasNextPage
      endCursor
    }
    nodes {
      id
      email
      fullName
      status
      createdAt
    }
  }
}
`,
    { first: 10, after: null, search: null },
  ),
  example(`
# For administrators: needs the permission admin:users.
# Next: assignRole takes the id of a role and of a user.
query Roles {
  roles {
    id
    name
    description
    isDefault
    isSystem
    permissions {
      name
    }
  }
}
`),
  example(`
# Gives a secret for an app that shows codes. Nothing changes
# until it shows one, in the tab ConfirmTwoFactor.
mutation EnableTwoFactor {
  enableTwoFactor {
    setup {
      otpauthUri
      secret
      expiresAt
    }
    errors {
      code
      message
    }
  }
}
`),
  example(
    `
# Keep the recovery codes: they are shown this once.
# From now on Login answers with TwoFactorRequired.
mutation ConfirmTwoFactor($input: ConfirmTwoFactorInput!) {
  confirmTwoFactor(input: $input) {
    recoveryCodes
    user {
      twoFactor {
        enabled
        recoveryCodesLeft
      }
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { code: '123456' } },
  ),
  example(
    `
# The second step of a sign-in: challengeToken from Login,
# and the next code from the app, or a recovery code.
mutation VerifyTwoFactor($input: VerifyTwoFactorInput!) {
  verifyTwoFactor(input: $input) {
    result {
      ... on SignedIn {
        accessToken
        refreshToken
      }
    }
    errors {
      code
      message
      path
    }
  }
}
`,
    { input: { challengeToken: 'ctf_…', code: '123456', trustDevice: false } },
  ),
  example(`
# Stays open and shows what happens, over a WebSocket: sign
# in somewhere else, and sign out there. It ends with the
# square button, or with the session.
subscription SessionRevoked {
  sessionRevoked {
    reason
    revokedAt
    sessionId
  }
}
`),
];
