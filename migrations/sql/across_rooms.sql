-- Foreign keys from one room to another.
ALTER TABLE programme_store ADD CONSTRAINT programme_store_store_id_mode_fkey
    FOREIGN KEY(store_id, mode) REFERENCES store (id, mode);
ALTER TABLE card ADD CONSTRAINT card_account_id_currency_mode_fkey
    FOREIGN KEY(account_id, currency, mode) REFERENCES account (id, currency, mode);
ALTER TABLE code ADD CONSTRAINT code_store_id_fkey
    FOREIGN KEY(store_id) REFERENCES store (id);
ALTER TABLE card_key ADD CONSTRAINT card_key_card_id_payment_id_fkey
    FOREIGN KEY(card_id, payment_id) REFERENCES payment (card_id, id);
ALTER TABLE payment ADD CONSTRAINT payment_card_id_mode_currency_fkey
    FOREIGN KEY(card_id, mode, currency) REFERENCES card (id, mode, currency);
ALTER TABLE payment ADD CONSTRAINT payment_card_id_code_id_fkey
    FOREIGN KEY(card_id, code_id) REFERENCES code (card_id, id);
