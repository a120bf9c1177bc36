// Each document is valid against the schema; the browser test fails when one no longer is.
const example = (document, variables) => {
  // What stands above the operation becomes one line, which the editor breaks where it has to.
  const query = document.trimStart().replaceAll(/\n# +/g, ' ');
  const [, name] = query.match(/^(?:query|mutation|subscription) (\w+)/m);
  return { name, query, variables: variables && JSON.stringify(variables, null, 2) };
};

const password = 'Correct-Horse-7';
const errors = `errors {
      code
      message
      path
    }`;
const step = `result {
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
      ... on PasswordExpired {
        resetToken
      }
    }`;

const begin = [
  example(`
# Run this with the button on the right or Ctrl-Enter.
# Next: open an account in the tab Register. Examples of
# everything else are in the pane on the left.
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
    ${errors}
  }
}
`,
    { input: { email: 'ada@example.com', fullName: 'Ada Lovelace', password } },
  ),
  example(
    `
# Put the token from the mail into the variables; in
# development the mail is at /inbox. It signs you in: the
# access token of the answer goes under Headers by itself.
mutation VerifyEmail($input: VerifyEmailInput!) {
  verifyEmail(input: $input) {
    ${step}
    ${errors}
  }
}
`,
    { input: { token: '' } },
  ),
  example(
    `
# The access token of the answer goes under Headers by
# itself, and every tab sends it. With COOKIE instead of BODY
# the browser keeps the tokens, and Headers stay as they are.
mutation Login($input: LoginInput!) {
  login(input: $input) {
    ${step}
    ${errors}
  }
}
`,
    { input: { identifier: 'ada@example.com', password, rememberMe: false, tokenDelivery: 'BODY' } },
  ),
  example(`
# The signed-in account: null until somebody signs in.
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
];

const signingIn = [
  begin.find(({ name }) => name === 'Login'),
  example(
    `
# The second step of a sign-in: challengeToken from Login,
# and the next code from the app, or a recovery code.
mutation VerifyTwoFactor($input: VerifyTwoFactorInput!) {
  verifyTwoFactor(input: $input) {
    ${step}
    ${errors}
  }
}
`,
    { input: { challengeToken: 'ctf_…', code: '123456', trustDevice: false } },
  ),
  example(
    `
# Trades the refresh token for a new pair. Each is good once:
# a second use, later than ten seconds, ends the session.
mutation RefreshToken($input: RefreshTokenInput) {
  refreshToken(input: $input) {
    ${step}
    ${errors}
  }
}
`,
    { input: { refreshToken: 'crr_…' } },
  ),
  example(
    `
# Some fields want a proof that is at most minutes old: they
# fail with REAUTHENTICATION_REQUIRED, and its extensions say
# by what. This gives it.
mutation Reauthenticate($input: ConfirmIdentityInput!) {
  reauthenticate(input: $input) {
    session {
      expiresAt
    }
    ${errors}
  }
}
`,
    { input: { password } },
  ),
  example(
    `
# Mails the token again, at most once a minute. The answer is
# the same whether or not such an account waits for it.
mutation ResendVerification($input: EmailInput!) {
  resendVerification(input: $input) {
    accepted
    ${errors}
  }
}
`,
    { input: { email: 'ada@example.com' } },
  ),
  example(`
# The providers that this server offers; empty until one is
# set up, see docs/PROVIDERS.md. The page /sign-in has buttons
# for them, and for passkeys, which need more than a request.
query Providers {
  authOptions {
    providers {
      slug
      displayName
    }
  }
}
`),
  example(`
# Ends this session: the token is good for nothing any more.
mutation Logout {
  logout {
    endedSessions
    ${errors}
  }
}
`),
];

const account = [
  begin.find(({ name }) => name === 'Me'),
  example(
    `
# A field that is left out stays, and null clears it. With
# 501 characters in bio nothing is written, and errors say so.
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
    ${errors}
  }
}
`,
    { input: { bio: 'Wrote the first program.', theme: 'DARK', timezone: 'Europe/London' } },
  ),
  example(
    `
# A field that is left out stays, and null clears it.
mutation UpdateBackground($input: UpdateBackgroundInput!) {
  updateBackground(input: $input) {
    background {
      experienceLevel
      primaryDomain
      programmingLanguages
      updatedAt
    }
    ${errors}
  }
}
`,
    { input: { experienceLevel: 'EXPERT', primaryDomain: 'Analytical engines', programmingLanguages: ['Punched cards'] } },
  ),
  example(`
# What happened to the account, and from where.
query Activity {
  me {
    activity(first: 10) {
      nodes {
        action
        outcome
        occurredAt
        ipAddress
      }
    }
  }
}
`),
];

const sessions = [
  example(`
# Where the account is signed in. RevokeSession ends one of
# these by its id, Logout this one, LogoutAll every one.
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
# Takes an id from Sessions.
mutation RevokeSession($input: RevokeSessionInput!) {
  revokeSession(input: $input) {
    revokedSessionId
    ${errors}
  }
}
`,
    { input: { sessionId: '' } },
  ),
  example(
    `
# Ends every session of the account, or every other one.
mutation LogoutAll($input: LogoutAllInput) {
  logoutAll(input: $input) {
    endedSessions
    ${errors}
  }
}
`,
    { input: { keepCurrent: true } },
  ),
];

const passwordAndAddress = [
  example(
    `
# Every other session of the account ends.
mutation ChangePassword($input: ChangePasswordInput!) {
  changePassword(input: $input) {
    user {
      updatedAt
    }
    ${errors}
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
    ${errors}
  }
}
`,
    { input: { email: 'ada@example.com' } },
  ),
  example(
    `
# Every session ends, and nobody is signed in: Login follows.
mutation ResetPassword($input: ResetPasswordInput!) {
  resetPassword(input: $input) {
    user {
      fullName
    }
    ${errors}
  }
}
`,
    { input: { token: '', newPassword: 'Shiny-Marble-42' } },
  ),
  example(
    `
# The address stays what it is until the mailed token comes
# back, in ConfirmEmailChange.
mutation RequestEmailChange($input: RequestEmailChangeInput!) {
  requestEmailChange(input: $input) {
    accepted
    ${errors}
  }
}
`,
    { input: { newEmail: 'ada.king@example.com' } },
  ),
  example(
    `
# Takes the token that the new address got, and the one with
# which the address before undoes the change.
mutation ConfirmEmailChange($input: TokenInput!) {
  confirmEmailChange(input: $input) {
    user {
      email
    }
    ${errors}
  }
}
`,
    { input: { token: '' } },
  ),
];

const secondFactor = [
  example(`
# Gives a secret for an app that shows codes. Nothing changes
# until it shows one, in ConfirmTwoFactor.
mutation EnableTwoFactor {
  enableTwoFactor {
    setup {
      otpauthUri
      secret
      expiresAt
    }
    ${errors}
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
    ${errors}
  }
}
`,
    { input: { code: '123456' } },
  ),
  signingIn.find(({ name }) => name === 'VerifyTwoFactor'),
  example(
    `
# New ones; those before are void.
mutation RegenerateRecoveryCodes($input: ConfirmIdentityInput!) {
  regenerateRecoveryCodes(input: $input) {
    recoveryCodes
    ${errors}
  }
}
`,
    { input: { twoFactorCode: '123456' } },
  ),
  example(
    `
# Refused where a second factor is compulsory and there is no
# passkey. Other sessions end.
mutation DisableTwoFactor($input: ConfirmIdentityInput!) {
  disableTwoFactor(input: $input) {
    user {
      twoFactor {
        enabled
      }
    }
    ${errors}
  }
}
`,
    { input: { twoFactorCode: '123456' } },
  ),
  example(`
# Passkeys are added and used on the page /sign-in: that takes
# the browser's own dialog. docs/PASSKEYS.md has the lines.
query Passkeys {
  me {
    passkeys {
      id
      name
      createdAt
      lastUsedAt
    }
  }
}
`),
];

const privacy = [
  example(`
# Everything that is kept about you, as one document. Wants a
# recent sign-in: Reauthenticate.
mutation ExportMyData {
  exportMyData {
    data
    ${errors}
  }
}
`),
  example(
    `
# Closes the account; the mailed link opens it again.
mutation DeactivateAccount($input: ConfirmIdentityInput) {
  deactivateAccount(input: $input) {
    user {
      status
    }
    ${errors}
  }
}
`,
    { input: { password } },
  ),
  example(
    `
# Takes the token that was mailed when the account was closed.
mutation ReactivateAccount($input: TokenInput!) {
  reactivateAccount(input: $input) {
    user {
      status
    }
    ${errors}
  }
}
`,
    { input: { token: '' } },
  ),
  example(
    `
# Erases the account after a time in which CancelErasure
# calls it off. Wants a recent sign-in: Reauthenticate.
mutation EraseAccount($input: ConfirmIdentityInput) {
  eraseAccount(input: $input) {
    erasesAt
    ${errors}
  }
}
`,
    { input: { password } },
  ),
  example(`
# Calls off an erasure, as long as its moment has not come.
mutation CancelErasure {
  cancelErasure {
    user {
      erasesAt
    }
    ${errors}
  }
}
`),
];

const administration = [
  example(
    `
# Needs the permission read:all, which administrators have:
# cardea user create --admin --email … --full-name … makes one.
# Next page: put endCursor into the variable after. The filter
# leaves out closed accounts and those that were never open.
query Users($first: Int, $after: String, $search: String, $filter: UserFilter) {
  users(first: $first, after: $after, search: $search, filter: $filter) {
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
    { first: 10, after: null, search: null, filter: { statuses: ['ACTIVE'] } },
  ),
  example(
    `
# One account, by id, address, user name or UUID.
query User($by: UserLookup!) {
  user(by: $by) {
    id
    fullName
    email
    lastLoginAt
    roleAssignments {
      role {
        name
      }
      assignedAt
    }
    twoFactor {
      enabled
    }
  }
}
`,
    { by: { email: 'ada@example.com' } },
  ),
  example(
    `
# Opens an account and mails an invitation: its token goes to
# ResetPassword. Wants a recent sign-in, as most of these.
mutation CreateUser($input: CreateUserInput!) {
  createUser(input: $input) {
    user {
      id
      status
    }
    ${errors}
  }
}
`,
    { input: { email: 'grace@example.com', fullName: 'Grace Hopper', language: 'en' } },
  ),
  example(
    `
# userId from Users. What is left out stays; null clears.
mutation UpdateUser($input: UpdateUserInput!) {
  updateUser(input: $input) {
    user {
      fullName
      coachingStartDate
    }
    ${errors}
  }
}
`,
    { input: { userId: '', coachingStartDate: '2026-12-01T09:00:00Z', profile: { fullName: 'Grace B. Hopper' } } },
  ),
  example(
    `
# userId from Users. Closing ends the sessions; true opens.
mutation UpdateUserStatus($input: UpdateUserStatusInput!) {
  updateUserStatus(input: $input) {
    user {
      status
    }
    ${errors}
  }
}
`,
    { input: { userId: '', isActive: false, reason: 'Asked for by phone' } },
  ),
  example(
    `
# userId from Users. Ends every session of somebody.
mutation RevokeUserSessions($input: UserIdInput!) {
  revokeUserSessions(input: $input) {
    endedSessions
    ${errors}
  }
}
`,
    { input: { userId: '' } },
  ),
  example(
    `
# userId from Users. Lets somebody try again whom too many
# wrong passwords or codes shut out.
mutation UnlockUser($input: UserIdInput!) {
  unlockUser(input: $input) {
    user {
      status
    }
    ${errors}
  }
}
`,
    { input: { userId: '' } },
  ),
  example(
    `
# userId from Users. For who lost the second factor: it is
# taken off, passkeys included, and the sessions end.
mutation ResetTwoFactor($input: UserIdInput!) {
  resetTwoFactor(input: $input) {
    user {
      twoFactor {
        enabled
      }
    }
    ${errors}
  }
}
`,
    { input: { userId: '' } },
  ),
  example(
    `
# Up to 500 accounts from elsewhere. This one only tries it;
# the second row says what is wrong with it. Wants a recent
# sign-in. docs/IMPORT.md has the exports of other products.
mutation ImportUsers($input: ImportUsersInput!) {
  importUsers(input: $input) {
    created
    updated
    unchanged
    failures {
      row
      ${errors.replaceAll('\n', '\n  ')}
    }
    ${errors}
  }
}
`,
    {
      input: {
        dryRun: true,
        rows: [
          { email: 'joan@example.com', fullName: 'Joan Clarke', roleNames: ['moderator'] },
          { email: 'no address', fullName: 'Nobody' },
        ],
      },
    },
  ),
  example(
    `
# userId from Users. Until erasesAt the owner can call it off;
# with immediately: true it cannot be undone. Wants a recent
# sign-in: Reauthenticate.
mutation EraseUser($input: EraseUserInput!) {
  eraseUser(input: $input) {
    erasesAt
    ${errors}
  }
}
`,
    { input: { userId: '', immediately: false, reason: 'Asked for by mail' } },
  ),
];

const roles = [
  example(`
# Needs the permission admin:users.
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
  example(
    `
# userId from Users, roleId from Roles.
mutation AssignRole($input: RoleMembershipInput!) {
  assignRole(input: $input) {
    user {
      roles {
        name
      }
    }
    ${errors}
  }
}
`,
    { input: { userId: '', roleId: '' } },
  ),
  example(
    `
# userId from Users, roleId from Roles.
mutation RemoveRole($input: RoleMembershipInput!) {
  removeRole(input: $input) {
    user {
      roles {
        name
      }
    }
    ${errors}
  }
}
`,
    { input: { userId: '', roleId: '' } },
  ),
  example(
    `
# A right that your application checks by its name.
mutation CreatePermission($input: CreatePermissionInput!) {
  createPermission(input: $input) {
    permission {
      name
    }
    ${errors}
  }
}
`,
    { input: { name: 'posts:publish', description: 'Publish posts' } },
  ),
  example(
    `
# The permissions by name: the one of CreatePermission.
mutation CreateRole($input: CreateRoleInput!) {
  createRole(input: $input) {
    role {
      id
      name
      permissions {
        name
      }
    }
    ${errors}
  }
}
`,
    { input: { name: 'editor', description: 'Writes and publishes', permissions: ['posts:publish'] } },
  ),
  example(
    `
# roleId from Roles. RevokePermission takes the same.
mutation GrantPermission($input: RolePermissionInput!) {
  grantPermission(input: $input) {
    role {
      permissions {
        name
      }
    }
    ${errors}
  }
}
`,
    { input: { roleId: '', permission: 'posts:publish' } },
  ),
];

const auditAndStatistics = [
  example(
    `
# Needs the permission admin:system.
query AuditEvents($first: Int, $filter: AuditEventFilter) {
  auditEvents(first: $first, filter: $filter) {
    nodes {
      action
      outcome
      occurredAt
      actor {
        fullName
      }
      subject {
        fullName
      }
      ipAddress
      details
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`,
    { first: 10, filter: { actions: ['LOGIN', 'LOGOUT'] } },
  ),
  example(
    `
# Needs admin:system for loginStats, admin:users for userStats.
query Statistics($timezone: String!) {
  loginStats(timezone: $timezone) {
    successes
    failures
    distinctUsers
    byMethod {
      method
      count
    }
  }
  userStats(timezone: $timezone) {
    total
    active
    monthlyActive
    byRole {
      count
      role {
        name
      }
    }
  }
}
`,
    { timezone: 'Europe/Vienna' },
  ),
];

const live = [
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
  example(`
# Accounts that are opened, closed or erased. Needs admin:users.
subscription UserStatusChanged {
  userStatusChanged {
    userId
    isActive
    user {
      fullName
    }
  }
}
`),
  example(`
# The audit trail as it grows. Needs admin:system.
subscription AuditEventAdded {
  auditEventAdded {
    action
    outcome
    occurredAt
    subject {
      fullName
    }
  }
}
`),
];

/** Example operations by what they are for, in the order in which a newcomer needs them. */
export const flows = [
  { title: 'First steps', examples: begin },
  { title: 'Signing in', examples: signingIn },
  { title: 'Account and profile', examples: account },
  { title: 'Sessions', examples: sessions },
  { title: 'Password and address', examples: passwordAndAddress },
  { title: 'Second factor', examples: secondFactor },
  { title: 'Privacy', examples: privacy },
  { title: 'Accounts, for administrators', examples: administration },
  { title: 'Roles and permissions', examples: roles },
  { title: 'Audit and statistics', examples: auditAndStatistics },
  { title: 'Live events', examples: live },
];

/** What a newcomer finds open: one tab each. */
export const tabs = begin.map(({ query, variables }) => ({ query, variables }));
