-- New accounts are never administrators.
ALTER TABLE roles ADD CONSTRAINT roles_admin_not_default CHECK (NOT (is_default AND lower(name) = 'admin'));

-- Who manages roles hands out what they hold, and no more: what administrators lost nobody could give back.
CREATE FUNCTION refuse_admin_right_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM roles WHERE id = OLD.role_id AND is_system AND name = 'admin')
        AND EXISTS (SELECT FROM permissions WHERE id = OLD.permission_id AND is_system)
    THEN
        RAISE EXCEPTION 'the role admin keeps every right of the system'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'role_permissions_admin_protected', TABLE = 'role_permissions';
    END IF;
    RETURN OLD;
END
$$;

CREATE TRIGGER role_permissions_admin BEFORE DELETE ON role_permissions
    FOR EACH ROW EXECUTE FUNCTION refuse_admin_right_loss();
