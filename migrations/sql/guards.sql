-- The database as the last guard of the books.

-- The only writer of a running balance: owned by the owner, run as the owner, fired by the insert of a transfer.
-- The service has no right to update an account, so it can move money only by writing down the movement, and only a movement
-- that what stands beside it bears out: a card is issued once, for its amount, out of its issuer's funding; a settle or refund
-- goes to or from the store of a payment of this card, and sums up to what that payment says. Read after the account's lock.
CREATE FUNCTION apply_transfer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    card_account CONSTANT text := NEW.card_id || ':card:' || NEW.currency;
    is_borne_out boolean;
BEGIN
    UPDATE public.account
    SET balance_minor = balance_minor + CASE NEW.credit_id WHEN card_account THEN NEW.amount_minor ELSE -NEW.amount_minor END
    WHERE id = card_account;
    IF NEW.payment_id IS NULL THEN
        SELECT CASE NEW.kind
            WHEN 'issue' THEN NEW.debit_id = issuer_id || ':funding:' || currency AND NEW.amount_minor = issued_minor
            ELSE NEW.credit_id = issuer_id || ':breakage:' || currency
        END INTO is_borne_out FROM public.card WHERE id = NEW.card_id;
    ELSE
        SELECT p.store_id || ':owed:' || p.currency IN (NEW.debit_id, NEW.credit_id)
            AND p.settled_minor = sum(t.amount_minor) FILTER (WHERE t.kind = 'settle')
            AND p.refunded_minor = coalesce(sum(t.amount_minor) FILTER (WHERE t.kind = 'refund'), 0)
        INTO is_borne_out FROM public.payment p JOIN public.transfer t ON t.card_id = p.card_id AND t.payment_id = p.id
        WHERE p.id = NEW.payment_id AND p.card_id = NEW.card_id GROUP BY p.id;
    END IF;
    IF is_borne_out IS NOT TRUE THEN
        RAISE EXCEPTION 'nothing bears out transfer %', NEW.id USING ERRCODE = 'check_violation', CONSTRAINT = 'transfer_borne_out';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION apply_transfer() FROM PUBLIC;
CREATE TRIGGER transfer_moves_balances AFTER INSERT ON transfer FOR EACH ROW EXECUTE FUNCTION apply_transfer();
ALTER TABLE transfer ENABLE ALWAYS TRIGGER transfer_moves_balances;

-- A new account starts at nothing, whatever its insert says.
CREATE FUNCTION open_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.balance_minor := CASE WHEN NEW.kind = 'card' THEN 0 END;
    RETURN NEW;
END $$;
CREATE TRIGGER account_starts_at_nothing BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION open_account();
ALTER TABLE account ENABLE ALWAYS TRIGGER account_starts_at_nothing;

-- A card account's balance as committed by now. VOLATILE gives the function a snapshot of its own, newer than that of
-- the statement which waited for the card's lock; a join in that statement would read the balance from before the wait.
CREATE FUNCTION balance_of(wanted text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT balance_minor FROM account WHERE id = wanted);
END $$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE transfer ENABLE ALWAYS TRIGGER transfer_append_only;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE event ENABLE ALWAYS TRIGGER event_append_only;

-- What the service may do: no DDL, nothing but INSERT on the books and the events, DELETE only where rows are of no more use.
GRANT USAGE ON SCHEMA public TO scrip_service, scrip_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO scrip_service, scrip_reader;
REVOKE SELECT ON claim_key, client_secret, signing_key FROM scrip_reader;
GRANT INSERT (id, kind, owner_id, currency, mode) ON account TO scrip_service;
GRANT INSERT (id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at) ON transfer TO scrip_service;
GRANT INSERT (id, at, kind, actor, request_id, card_id, payment_id, facts) ON event TO scrip_service;
GRANT INSERT ON issuer, programme, programme_store, store, settlement, refund TO scrip_service;
GRANT INSERT ON card, claim_link, code, card_key, payment, letter, client, client_secret, signing_key TO scrip_service;
GRANT INSERT, DELETE ON claim_key, request TO scrip_service;
-- Only what has a life: whose card, whose payment, how much a hold was for, is written once.
GRANT UPDATE (state, expires_at, holder_sealed, email_hash) ON card TO scrip_service;
GRANT UPDATE (state, opened_at, opened_by, nonce_hash) ON claim_link TO scrip_service;
GRANT UPDATE (state, hash, store_id, shopper_key, order_reference, bound_until, died_at) ON code TO scrip_service;
GRANT UPDATE (link_id, code_id, payment_id) ON card_key TO scrip_service;
GRANT UPDATE (
    state, order_reference, balance_minor, held_minor, settled_minor, released_minor, refunded_minor, expired_minor,
    confirmed_at, expires_at, ended_at, expired_at
) ON payment TO scrip_service;
GRANT UPDATE (state, tries, due_at, sent_at, last_error) ON letter TO scrip_service;
GRANT UPDATE (answer) ON request TO scrip_service;
GRANT UPDATE (disabled_at) ON client TO scrip_service;
GRANT UPDATE (last_used_at, retired_at) ON client_secret TO scrip_service;
GRANT UPDATE (state, private_sealed, activated_at, retires_at, retired_at) ON signing_key TO scrip_service;
GRANT EXECUTE ON FUNCTION balance_of(text) TO scrip_service, scrip_reader;
