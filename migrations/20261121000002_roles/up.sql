CREATE TABLE permissions (
    id uuid NOT NULL,
    name text NOT NULL,
    description text,
    is_system boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    CONSTRAINT permissions_pkey PRIMARY KEY (id),
    CONSTRAINT permissions_name_key UNIQUE (name),
    CONSTRAINT permissions_name_form CHECK (char_length(name) <= 100 AND name ~ '^[a-z0-9_.-]+(:[a-z0-9_.-]+)*$'),
    CONSTRAINT permissions_description_length CHECK (char_length(description) <= 500)
);

COMMENT ON TABLE permissions IS 'Rights that roles grant.';
COMMENT ON COLUMN permissions.id IS 'UUID.';
COMMENT ON COLUMN permissions.name IS 'Unique, resource:action by custom.';
COMMENT ON COLUMN permissions.description IS 'What the right allows.';
COMMENT ON COLUMN permissions.is_system IS 'Checked by this server; can be neither renamed nor deleted.';
COMMENT ON COLUMN permissions.created_at IS 'When it was added.';

CREATE TABLE roles (
    id uuid NOT NULL,
    name text NOT NULL,
    description text,
    is_default boolean NOT NULL DEFAULT false,
    is_system boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT roles_pkey PRIMARY KEY (id),
    CONSTRAINT roles_name_length CHECK (char_length(name) BETWEEN 1 AND 64 AND name = btrim(name)),
    CONSTRAINT roles_description_length CHECK (char_length(description) <= 500)
);

CREATE UNIQUE INDEX roles_name_key ON roles (lower(name));

COMMENT ON TABLE roles IS 'Named bundles of rights.';
COMMENT ON COLUMN roles.id IS 'UUID.';
COMMENT ON COLUMN roles.name IS 'Unique without case.';
COMMENT ON COLUMN roles.description IS 'Whom the role is for.';
COMMENT ON COLUMN roles.is_default IS 'Given to every new account.';
COMMENT ON COLUMN roles.is_system IS 'Ships with the server; can be neither renamed nor deleted.';
COMMENT ON COLUMN roles.created_at IS 'When it was added.';
COMMENT ON COLUMN roles.updated_at IS 'When the role or its rights last changed.';

CREATE FUNCTION refuse_system_row_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a system row of % can be neither renamed nor deleted', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_system_protected', TABLE = TG_TABLE_NAME;
END
$$;

CREATE TRIGGER roles_system_rename BEFORE UPDATE ON roles
    FOR EACH ROW WHEN (OLD.is_system AND (NEW.name <> OLD.name OR NOT NEW.is_system))
    EXECUTE FUNCTION refuse_system_row_change();
CREATE TRIGGER roles_system_delete BEFORE DELETE ON roles
    FOR EACH ROW WHEN (OLD.is_system) EXECUTE FUNCTION refuse_system_row_change();
CREATE TRIGGER permissions_system_rename BEFORE UPDATE ON permissions
    FOR EACH ROW WHEN (OLD.is_system AND (NEW.name <> OLD.name OR NOT NEW.is_system))
    EXECUTE FUNCTION refuse_system_row_change();
CREATE TRIGGER permissions_system_delete BEFORE DELETE ON permissions
    FOR EACH ROW WHEN (OLD.is_system) EXECUTE FUNCTION refuse_system_row_change();

CREATE TABLE role_permissions (
    role_id uuid NOT NULL,
    permission_id uuid NOT NULL,
    CONSTRAINT role_permissions_pkey PRIMARY KEY (role_id, permission_id),
    CONSTRAINT role_permissions_role_id_fkey FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE,
    CONSTRAINT role_permissions_permission_id_fkey FOREIGN KEY (permission_id) REFERENCES permissions (id) ON DELETE CASCADE
);

CREATE INDEX role_permissions_permission_id_idx ON role_permissions (permission_id);

COMMENT ON TABLE role_permissions IS 'Which role grants which right.';
COMMENT ON COLUMN role_permissions.role_id IS 'The role.';
COMMENT ON COLUMN role_permissions.permission_id IS 'The right.';

CREATE TABLE user_roles (
    user_id uuid NOT NULL,
    role_id uuid NOT NULL,
    assigned_at timestamptz NOT NULL,
    assigned_by uuid,
    CONSTRAINT user_roles_pkey PRIMARY KEY (user_id, role_id),
    CONSTRAINT user_roles_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_roles_role_id_fkey FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE,
    CONSTRAINT user_roles_assigned_by_fkey FOREIGN KEY (assigned_by) REFERENCES users (id) ON DELETE SET NULL
);

CREATE INDEX user_roles_role_id_idx ON user_roles (role_id, user_id);
CREATE INDEX user_roles_assigned_by_idx ON user_roles (assigned_by);

COMMENT ON TABLE user_roles IS 'Which account holds which role.';
COMMENT ON COLUMN user_roles.user_id IS 'The account.';
COMMENT ON COLUMN user_roles.role_id IS 'The role.';
COMMENT ON COLUMN user_roles.assigned_at IS 'When the role was given.';
COMMENT ON COLUMN user_roles.assigned_by IS 'Who gave it; null for the server itself and for erased accounts.';

INSERT INTO permissions (id, name, description, is_system, created_at) VALUES
    (gen_random_uuid(), 'read:own', 'Read the caller''s own account', true, now()),
    (gen_random_uuid(), 'write:own', 'Change the caller''s own account', true, now()),
    (gen_random_uuid(), 'read:all', 'Read any account', true, now()),
    (gen_random_uuid(), 'write:all', 'Change any account', true, now()),
    (gen_random_uuid(), 'admin:users', 'Create, deactivate and import accounts, hand out roles', true, now()),
    (gen_random_uuid(), 'admin:system', 'Roles, audit trail, settings', true, now());

INSERT INTO roles (id, name, description, is_default, is_system, created_at, updated_at) VALUES
    (gen_random_uuid(), 'user', 'Everybody with an account', true, true, now(), now()),
    (gen_random_uuid(), 'moderator', 'Reads every account', false, true, now(), now()),
    (gen_random_uuid(), 'admin', 'Runs the installation', false, true, now(), now());

INSERT INTO role_permissions (role_id, permission_id)
SELECT roles.id, permissions.id
FROM roles JOIN permissions ON
    roles.name = 'admin'
    OR permissions.name IN ('read:own', 'write:own')
    OR roles.name = 'moderator' AND permissions.name = 'read:all';
