DROP TRIGGER role_permissions_admin ON role_permissions;
DROP FUNCTION refuse_admin_right_loss();
ALTER TABLE roles DROP CONSTRAINT roles_admin_not_default;
