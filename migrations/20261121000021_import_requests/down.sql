DROP TABLE import_requests;
