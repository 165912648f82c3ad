-- How much a store may refund in a day, by currency, in minor units, by clients that have a secret. Without one, no limit.
ALTER TABLE store ADD COLUMN refund_limits JSONB NOT NULL DEFAULT '{}';
ALTER TABLE store ADD CONSTRAINT store_refund_limits_object CHECK (jsonb_typeof(refund_limits) = 'object');
GRANT UPDATE (refund_limits) ON store TO scrip_service;
