-- A client may be known by its certificate, and any client may hold the scopes that concern itself.
ALTER TABLE client ADD COLUMN tls_subject JSONB;
ALTER TABLE client DROP CONSTRAINT client_auth_method_known;
ALTER TABLE client ADD CONSTRAINT client_auth_method_known CHECK (auth_method IN ('client_secret_basic', 'private_key_jwt', 'tls_client_auth'));
ALTER TABLE client ADD CONSTRAINT client_subject_of_method CHECK ((auth_method = 'tls_client_auth') = (tls_subject IS NOT NULL) AND tls_subject <> '{}');
ALTER TABLE client DROP CONSTRAINT client_scopes_of_party;
ALTER TABLE client ADD CONSTRAINT client_scopes_of_party CHECK (cardinality(scopes) > 0 AND scopes <@ (ARRAY['introspect', 'client.manage'] || CASE WHEN issuer_id IS NULL THEN ARRAY['exchange', 'settle', 'refund', 'bill'] ELSE ARRAY['issue'] END));
