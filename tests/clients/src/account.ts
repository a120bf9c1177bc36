// The documents of relay.ts. The compiler reads them; nothing runs this file.
import { graphql } from 'relay-runtime';

graphql`
  fragment account_problem on UserError {
    __typename
    code
    message
    path
    ... on InvalidValueError {
      rule
      minimum
      maximum
    }
    ... on TooManyAttemptsError {
      retryAfterSeconds
    }
  }
`;

graphql`
  mutation accountRegisterMutation($input: RegisterInput!) {
    register(input: $input) {
      errors {
        ...account_problem @relay(mask: false)
      }
    }
  }
`;

graphql`
  mutation accountVerifyMutation($token: String!) {
    verifyEmail(input: { token: $token }) {
      errors {
        ...account_problem @relay(mask: false)
      }
      result {
        __typename
      }
    }
  }
`;

graphql`
  fragment account_step on SignInPayload {
    errors {
      ...account_problem @relay(mask: false)
    }
    result {
      __typename
      ... on SignedIn {
        accessToken
        refreshToken
        user {
          id
        }
      }
      ... on TwoFactorRequired {
        challengeToken
        methods
      }
      ... on EmailVerificationRequired {
        resendAvailableAt
      }
      ... on PasswordExpired {
        resetToken
      }
    }
  }
`;

graphql`
  mutation accountSignInMutation($input: LoginInput!) {
    login(input: $input) {
      ...account_step @relay(mask: false)
    }
  }
`;

graphql`
  mutation accountSecondStepMutation($input: VerifyTwoFactorInput!) {
    verifyTwoFactor(input: $input) {
      ...account_step @relay(mask: false)
    }
  }
`;

graphql`
  mutation accountRefreshMutation($input: RefreshTokenInput!) {
    refreshToken(input: $input) {
      ...account_step @relay(mask: false)
    }
  }
`;

graphql`
  mutation accountSignOutMutation {
    logout {
      endedSessions
      errors {
        ...account_problem @relay(mask: false)
      }
    }
  }
`;

graphql`
  query accountProfileQuery {
    me {
      fullName
      profile {
        bio
        timezone
      }
    }
  }
`;

graphql`
  mutation accountSaveMutation($input: UpdateProfileInput!) {
    updateProfile(input: $input) {
      errors {
        ...account_problem @relay(mask: false)
      }
      user {
        fullName
        profile {
          bio
          timezone
        }
      }
    }
  }
`;

graphql`
  mutation accountBeginSecondFactorMutation {
    enableTwoFactor {
      errors {
        ...account_problem @relay(mask: false)
      }
      setup {
        otpauthUri
        secret
      }
    }
  }
`;

graphql`
  mutation accountConfirmSecondFactorMutation($code: String!) {
    confirmTwoFactor(input: { code: $code }) {
      errors {
        ...account_problem @relay(mask: false)
      }
      recoveryCodes
      user {
        twoFactor {
          enabled
        }
      }
    }
  }
`;

graphql`
  mutation accountProveMutation($input: ConfirmIdentityInput!) {
    reauthenticate(input: $input) {
      errors {
        ...account_problem @relay(mask: false)
      }
      session {
        id
      }
    }
  }
`;

graphql`
  fragment account_sessions on User
  @refetchable(queryName: "accountSessionsPaginationQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 1 }, cursor: { type: "String" }) {
    sessions(first: $count, after: $cursor) @connection(key: "account_sessions") {
      edges {
        node {
          id
          current
          userAgent
        }
      }
      pageInfo {
        endCursor
      }
    }
  }
`;

graphql`
  query accountSessionsQuery {
    me {
      ...account_sessions
    }
  }
`;

graphql`
  mutation accountEndSessionMutation($sessionId: ID!) {
    revokeSession(input: { sessionId: $sessionId }) {
      errors {
        ...account_problem @relay(mask: false)
      }
      revokedSessionId @deleteRecord
    }
  }
`;

graphql`
  fragment account_member on User {
    fullName
    email
    roles {
      name
    }
  }
`;

graphql`
  query accountMembersQuery($search: String, $count: Int!, $cursor: String) {
    ...account_members @arguments(search: $search, count: $count, cursor: $cursor)
    roles {
      id
      name
    }
  }
`;

graphql`
  fragment account_members on Query
  @refetchable(queryName: "accountMembersPaginationQuery")
  @argumentDefinitions(search: { type: "String" }, count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" }) {
    users(search: $search, first: $count, after: $cursor) @connection(key: "account_users") {
      edges {
        node {
          ...account_member @relay(mask: false)
        }
      }
    }
  }
`;

graphql`
  mutation accountGiveRoleMutation($input: RoleMembershipInput!) {
    assignRole(input: $input) {
      errors {
        ...account_problem @relay(mask: false)
      }
      user {
        ...account_member @relay(mask: false)
      }
    }
  }
`;

graphql`
  mutation accountTakeRoleMutation($input: RoleMembershipInput!) {
    removeRole(input: $input) {
      errors {
        ...account_problem @relay(mask: false)
      }
      user {
        ...account_member @relay(mask: false)
      }
    }
  }
`;

graphql`
  subscription accountEndedSubscription {
    sessionRevoked {
      sessionId @deleteRecord
      reason
    }
  }
`;
