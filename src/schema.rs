// @generated automatically by Diesel CLI.

diesel::table! {
    audit_chains (month) {
        month -> Date,
        number -> Int4,
        genesis -> Bytea,
        length -> Int8,
        head -> Bytea,
        retired -> Bool,
        mac -> Bytea,
    }
}

diesel::table! {
    audit_events (id, occurred_at) {
        id -> Uuid,
        occurred_at -> Timestamptz,
        action -> Text,
        outcome -> Text,
        actor_id -> Nullable<Uuid>,
        subject_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        client -> Nullable<Bytea>,
        reason -> Nullable<Bytea>,
        details -> Jsonb,
        mac -> Bytea,
        position -> Nullable<Int8>,
        hash -> Nullable<Bytea>,
        subjects -> Nullable<Array<Uuid>>,
    }
}

diesel::table! {
    backgrounds (user_id) {
        user_id -> Uuid,
        software_tools -> Array<Text>,
        programming_languages -> Array<Text>,
        hardware_setup -> Nullable<Jsonb>,
        technical_preferences -> Nullable<Jsonb>,
        experience_level -> Nullable<Text>,
        primary_domain -> Nullable<Text>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    data_keys (user_id) {
        user_id -> Uuid,
        wrapped_key -> Bytea,
        master_key_id -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    email_changes (id) {
        id -> Uuid,
        user_id -> Uuid,
        new_email -> Text,
        old_email -> Text,
        requested_at -> Timestamptz,
        confirmed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    identities (id) {
        id -> Uuid,
        user_id -> Uuid,
        provider -> Text,
        issuer -> Text,
        subject -> Text,
        display_name -> Nullable<Text>,
        email -> Nullable<Text>,
        linked_at -> Timestamptz,
        last_used_at -> Timestamptz,
    }
}

diesel::table! {
    import_requests (user_id, key_hash) {
        user_id -> Uuid,
        key_hash -> Bytea,
        request_hash -> Bytea,
        answer -> Nullable<Jsonb>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    installation_keys (purpose) {
        purpose -> Text,
        wrapped_key -> Bytea,
        master_key_id -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    jobs (id) {
        id -> Uuid,
        payload -> Jsonb,
        attempts -> Int4,
        run_at -> Timestamptz,
        locked_until -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
        failed_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        endpoint -> Nullable<Text>,
        account_id -> Nullable<Uuid>,
        sequence -> Nullable<Int8>,
    }
}

diesel::table! {
    known_devices (user_id, device_hash, network_hash) {
        user_id -> Uuid,
        device_hash -> Bytea,
        network_hash -> Bytea,
        first_seen_at -> Timestamptz,
        last_seen_at -> Timestamptz,
    }
}

diesel::table! {
    login_day_methods (day, method) {
        day -> Date,
        method -> Text,
        sign_ins -> Int8,
    }
}

diesel::table! {
    login_day_returns (day, previous_day) {
        day -> Date,
        previous_day -> Date,
        sign_ins -> Int8,
    }
}

diesel::table! {
    login_events (id) {
        id -> Uuid,
        user_id -> Nullable<Uuid>,
        methods -> Array<Text>,
        occurred_at -> Timestamptz,
        succeeded -> Bool,
        previous_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    login_quarters (starts_at) {
        starts_at -> Timestamptz,
        successes -> Int8,
        failures -> Int8,
    }
}

diesel::table! {
    oauth_states (state_hash) {
        state_hash -> Bytea,
        provider -> Text,
        redirect_uri -> Text,
        user_id -> Nullable<Uuid>,
        name -> Nullable<Text>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    passkey_challenges (token_hash) {
        token_hash -> Bytea,
        kind -> Text,
        user_id -> Nullable<Uuid>,
        session_id -> Nullable<Uuid>,
        two_factor_hash -> Nullable<Bytea>,
        state -> Jsonb,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    passkeys (id) {
        id -> Uuid,
        user_id -> Uuid,
        credential_id -> Bytea,
        credential -> Jsonb,
        sign_count -> Int8,
        name -> Text,
        created_at -> Timestamptz,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    password_history (id) {
        id -> Uuid,
        user_id -> Uuid,
        hashed_password -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    permissions (id) {
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        is_system -> Bool,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    personalizations (user_id) {
        user_id -> Uuid,
        recommended_content -> Array<Text>,
        preferred_categories -> Array<Text>,
        last_personalization_update -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    profiles (user_id) {
        user_id -> Uuid,
        bio -> Nullable<Text>,
        timezone -> Text,
        coaching_goals -> Nullable<Bytea>,
        preferred_coaching_style -> Nullable<Text>,
        session_frequency -> Nullable<Text>,
        email_notifications -> Bool,
        push_notifications -> Bool,
        notification_frequency -> Text,
        theme -> Text,
        language -> Text,
        preferences -> Jsonb,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    rate_limits (key) {
        key -> Bytea,
        full_at -> Timestamptz,
        tries -> Int4,
        subject -> Nullable<Bytea>,
    }
}

diesel::table! {
    recovery_codes (id) {
        id -> Uuid,
        user_id -> Uuid,
        code_hash -> Bytea,
        created_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    registration_claims (user_id) {
        user_id -> Uuid,
        hashed_password -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    role_permissions (role_id, permission_id) {
        role_id -> Uuid,
        permission_id -> Uuid,
    }
}

diesel::table! {
    roles (id) {
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        is_default -> Bool,
        is_system -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        requires_two_factor -> Bool,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        refresh_token_hash -> Bytea,
        remember_me -> Bool,
        ip_address -> Nullable<Bytea>,
        user_agent -> Nullable<Bytea>,
        created_at -> Timestamptz,
        last_accessed_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoked_reason -> Nullable<Text>,
        successor_salt -> Nullable<Bytea>,
        authenticated_at -> Timestamptz,
        methods -> Array<Text>,
        second_factor -> Bool,
    }
}

diesel::table! {
    signing_keys (id) {
        id -> Uuid,
        algorithm -> Text,
        private_key -> Bytea,
        created_at -> Timestamptz,
        signs_from -> Timestamptz,
    }
}

diesel::table! {
    spent_refresh_tokens (token_hash) {
        token_hash -> Bytea,
        session_id -> Uuid,
        spent_at -> Timestamptz,
    }
}

diesel::table! {
    trusted_devices (token_hash) {
        token_hash -> Bytea,
        user_id -> Uuid,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    two_factor_challenges (token_hash) {
        token_hash -> Bytea,
        user_id -> Uuid,
        method -> Text,
        password_changed_at -> Nullable<Timestamptz>,
        remember_me -> Bool,
        in_cookies -> Bool,
        device_hash -> Bytea,
        forgiven_keys -> Array<Bytea>,
        tries -> Int4,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    two_factor_secrets (id) {
        id -> Uuid,
        user_id -> Uuid,
        sealed_secret -> Bytea,
        last_step -> Nullable<Int8>,
        wrong_codes -> Int4,
        created_at -> Timestamptz,
        confirmed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    unsealed_values (user_id, place, row_id) {
        user_id -> Uuid,
        place -> Text,
        row_id -> Uuid,
        value -> Text,
    }
}

diesel::table! {
    user_roles (user_id, role_id) {
        user_id -> Uuid,
        role_id -> Uuid,
        assigned_at -> Timestamptz,
        assigned_by -> Nullable<Uuid>,
    }
}

diesel::table! {
    username_reservations (name) {
        name -> Text,
        user_id -> Uuid,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        auth_token -> Uuid,
        username -> Nullable<Text>,
        email -> Text,
        hashed_password -> Nullable<Text>,
        full_name -> Text,
        first_name -> Nullable<Text>,
        last_name -> Nullable<Text>,
        avatar_url -> Nullable<Text>,
        birth_date -> Nullable<Bytea>,
        status -> Text,
        email_verified_at -> Nullable<Timestamptz>,
        password_changed_at -> Nullable<Timestamptz>,
        last_login_at -> Nullable<Timestamptz>,
        login_count -> Int4,
        coaching_start_date -> Nullable<Timestamptz>,
        last_coaching_session -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        password_warned_at -> Nullable<Timestamptz>,
        closed_at -> Nullable<Timestamptz>,
        closed_by -> Nullable<Text>,
        closed_reason -> Nullable<Text>,
        contested -> Bool,
        search_text -> Text,
        erases_at -> Nullable<Timestamptz>,
        inactivity_warnings -> Int2,
        inactivity_warned_at -> Nullable<Timestamptz>,
        imported_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    verification_tokens (id) {
        id -> Uuid,
        user_id -> Uuid,
        token_hash -> Bytea,
        kind -> Text,
        email -> Text,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    webhook_endpoints (name) {
        name -> Text,
        created_at -> Timestamptz,
        retired_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    webhook_sequences (user_id) {
        user_id -> Uuid,
        last -> Int8,
        transaction_id -> Int8,
    }
}

diesel::joinable!(backgrounds -> users (user_id));
diesel::joinable!(data_keys -> users (user_id));
diesel::joinable!(email_changes -> users (user_id));
diesel::joinable!(identities -> users (user_id));
diesel::joinable!(import_requests -> users (user_id));
diesel::joinable!(known_devices -> users (user_id));
diesel::joinable!(login_events -> users (user_id));
diesel::joinable!(oauth_states -> users (user_id));
diesel::joinable!(passkey_challenges -> sessions (session_id));
diesel::joinable!(passkey_challenges -> two_factor_challenges (two_factor_hash));
diesel::joinable!(passkey_challenges -> users (user_id));
diesel::joinable!(passkeys -> users (user_id));
diesel::joinable!(password_history -> users (user_id));
diesel::joinable!(personalizations -> users (user_id));
diesel::joinable!(profiles -> users (user_id));
diesel::joinable!(recovery_codes -> users (user_id));
diesel::joinable!(registration_claims -> users (user_id));
diesel::joinable!(role_permissions -> permissions (permission_id));
diesel::joinable!(role_permissions -> roles (role_id));
diesel::joinable!(sessions -> users (user_id));
diesel::joinable!(spent_refresh_tokens -> sessions (session_id));
diesel::joinable!(trusted_devices -> users (user_id));
diesel::joinable!(two_factor_challenges -> users (user_id));
diesel::joinable!(two_factor_secrets -> users (user_id));
diesel::joinable!(unsealed_values -> users (user_id));
diesel::joinable!(user_roles -> roles (role_id));
diesel::joinable!(username_reservations -> users (user_id));
diesel::joinable!(verification_tokens -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    audit_chains,
    audit_events,
    backgrounds,
    data_keys,
    email_changes,
    identities,
    import_requests,
    installation_keys,
    jobs,
    known_devices,
    login_day_methods,
    login_day_returns,
    login_events,
    login_quarters,
    oauth_states,
    passkey_challenges,
    passkeys,
    password_history,
    permissions,
    personalizations,
    profiles,
    rate_limits,
    recovery_codes,
    registration_claims,
    role_permissions,
    roles,
    sessions,
    signing_keys,
    spent_refresh_tokens,
    trusted_devices,
    two_factor_challenges,
    two_factor_secrets,
    unsealed_values,
    user_roles,
    username_reservations,
    users,
    verification_tokens,
    webhook_endpoints,
    webhook_sequences,
);
