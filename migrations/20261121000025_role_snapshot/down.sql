DROP TRIGGER permissions_access ON permissions;
CREATE TRIGGER permissions_access AFTER UPDATE OR DELETE ON permissions FOR EACH STATEMENT
    EXECUTE FUNCTION access_notify_permissions();
DROP TRIGGER roles_access ON roles;
CREATE TRIGGER roles_access AFTER UPDATE ON roles FOR EACH ROW
    WHEN (OLD.requires_two_factor IS DISTINCT FROM NEW.requires_two_factor) EXECUTE FUNCTION access_notify_permissions();
