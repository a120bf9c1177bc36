-- Servers remember all roles and permissions, not only who may do what: whatever changes in them is told.
DROP TRIGGER roles_access ON roles;
CREATE TRIGGER roles_access AFTER INSERT OR UPDATE OR DELETE ON roles FOR EACH STATEMENT
    EXECUTE FUNCTION access_notify_permissions();
DROP TRIGGER permissions_access ON permissions;
CREATE TRIGGER permissions_access AFTER INSERT OR UPDATE OR DELETE ON permissions FOR EACH STATEMENT
    EXECUTE FUNCTION access_notify_permissions();
