/** The outbox: what the service is to be told, kept in the shop's database beside what it stands for. */

import { Injectable, OnApplicationShutdown } from '@nestjs/common';
import { EventBus, Order, RequestContext, TransactionalConnection, VendureEvent } from '@vendure/core';
import { randomUUID } from 'node:crypto';
import { DataSource, EntityManager } from 'typeorm';

import { Money } from './client';
import { ScripInstruction, Verb } from './instruction';
import { requestKey } from './keys';

/** Longer than an instruction's calls may take together: one whose deliverer was killed waits for so long. */
const LEASE_S = 60;
/** An order that was being placed for so long is not placed any more. */
const GUARD_S = 15 * 60;
const UNLESS_PLACED = 'unless-placed';

/** Something was added in the transaction of `ctx`; subscribers hear of it when that is committed. */
export class InstructionAdded extends VendureEvent {
    constructor(readonly ctx: RequestContext) {
        super();
    }
}

interface Added {
    verb: Verb;
    paymentId: string;
    orderCode: string;
    currency: string;
    amountMinor: number | null;
    key: string;
}

/** Whether this void counts only if the order is not placed. */
export function isUnlessPlaced(one: ScripInstruction): boolean {
    return one.key === requestKey('void', one.payment_id, one.order_code, UNLESS_PLACED);
}

/** Instructions as they are added, claimed and ended. All times are the database's. */
@Injectable()
export class Outbox implements OnApplicationShutdown {
    private pool: Promise<DataSource> | null = null;

    constructor(
        private readonly connection: TransactionalConnection,
        private readonly eventBus: EventBus,
    ) {}

    async onApplicationShutdown(): Promise<void> {
        const pool = await this.pool?.catch(() => null);
        await pool?.destroy();
    }

    /** Throws where the shop's database is none that the outbox can be kept in. */
    assertPostgres(): void {
        const { type } = this.connection.rawConnection.options;
        if (type !== 'postgres') {
            throw new Error(`ScripPlugin: the outbox needs PostgreSQL; this shop's database is ${type}.`);
        }
    }

    /** Takes `amount` once the transaction of `ctx` is committed. Of one payment and order there is one. */
    settle(ctx: RequestContext, paymentId: string, orderCode: string, amount: Money): Promise<string> {
        return this.add(ctx, {
            verb: 'settle',
            paymentId,
            orderCode,
            currency: amount.currency,
            amountMinor: amount.amountMinor,
            key: requestKey('settle', paymentId, orderCode),
        });
    }

    /** Gives the hold back once the transaction of `ctx` is committed; a settle that was not begun is withdrawn. */
    async void(ctx: RequestContext, paymentId: string, orderCode: string, currency: string): Promise<void> {
        await this.manager(ctx).query(
            `DELETE FROM ${this.table} WHERE payment_id = $1 AND verb = 'settle' AND state = 'pending' AND tries = 0`,
            [paymentId],
        );
        const key = requestKey('void', paymentId, orderCode);
        await this.add(ctx, { verb: 'void', paymentId, orderCode, currency, amountMinor: null, key });
    }

    /** Gives `amount` back to the card once the transaction of `ctx` is committed. Returns the instruction's ID. */
    refund(ctx: RequestContext, paymentId: string, orderCode: string, amount: Money, part: string): Promise<string> {
        return this.add(ctx, {
            verb: 'refund',
            paymentId,
            orderCode,
            currency: amount.currency,
            amountMinor: amount.amountMinor,
            key: requestKey('refund', paymentId, orderCode, part),
        });
    }

    /**
     * Writes down, whatever becomes of the shopper's own transaction, that the payment is given back unless its order
     * is placed. A process that is killed from now on strands nobody's money.
     */
    async guard(paymentId: string, orderCode: string, currency: string): Promise<void> {
        const pool = await this.ownPool();
        const key = requestKey('void', paymentId, orderCode, UNLESS_PLACED);
        await pool.query(
            `INSERT INTO ${this.table} (id, verb, payment_id, order_code, currency, final, key, state, tries, due_at)
             VALUES ($1, 'void', $2, $3, $4, true, $5, 'pending', 0, now() + make_interval(secs => $6))
             ON CONFLICT (key) DO UPDATE
             SET state = 'pending', due_at = EXCLUDED.due_at, ended_at = NULL, last_error = NULL`,
            [randomUUID(), paymentId, orderCode, currency, key, GUARD_S],
        );
    }

    /** The payment belongs to the order when the transaction of `ctx` is committed. */
    async unguard(ctx: RequestContext, paymentId: string, orderCode: string): Promise<void> {
        const key = requestKey('void', paymentId, orderCode, UNLESS_PLACED);
        await this.manager(ctx).query(`DELETE FROM ${this.table} WHERE key = $1`, [key]);
    }

    /** The payment did not come to stand on the order, and there is nothing to wait for. */
    async unneeded(paymentId: string, orderCode: string): Promise<void> {
        const key = requestKey('void', paymentId, orderCode, UNLESS_PLACED);
        const pool = await this.ownPool();
        await pool.query(`UPDATE ${this.table} SET due_at = now() WHERE key = $1 AND state = 'pending'`, [key]);
    }

    /** All that there is of a payment, oldest first. */
    of(paymentId: string, ctx?: RequestContext): Promise<ScripInstruction[]> {
        return this.connection
            .getRepository(ctx, ScripInstruction)
            .find({ where: { payment_id: paymentId }, order: { created_at: 'ASC', id: 'ASC' } });
    }

    /**
     * One instruction that is due, for LEASE_S; null when there is none. `everything`: due or not. `but`: those that
     * this run has had. A settle waits for nothing, but gives way to a void; a refund waits for the settle.
     */
    async claim(everything: boolean, but: string[]): Promise<ScripInstruction | null> {
        const [rows] = (await this.connection.rawConnection.query(
            `UPDATE ${this.table} SET lease_until = now() + make_interval(secs => $1), tries = tries + 1
             WHERE id = (
               SELECT one.id FROM ${this.table} one
               WHERE one.state = 'pending' AND ($2 OR one.due_at <= now()) AND one.id <> ALL ($3)
                 AND (one.lease_until IS NULL OR one.lease_until < now())
                 AND NOT (one.verb <> 'void' AND EXISTS (
                   SELECT FROM ${this.table} other
                   WHERE other.payment_id = one.payment_id AND other.state = 'pending'
                     AND CASE one.verb WHEN 'refund' THEN other.verb = 'settle'
                         ELSE other.verb = 'void' AND other.key NOT LIKE $4 END))
               ORDER BY one.due_at, one.id LIMIT 1 FOR UPDATE SKIP LOCKED
             ) RETURNING *`,
            [LEASE_S, everything, but, `%:${UNLESS_PLACED}`],
        )) as [ScripInstruction[], number];
        return rows[0] ?? null;
    }

    /** Said yes to. In the transaction of `ctx`. */
    async done(ctx: RequestContext | undefined, one: ScripInstruction, answerId: string | null): Promise<void> {
        await this.manager(ctx).query(
            `UPDATE ${this.table} SET state = 'done', ended_at = now(), lease_until = NULL, answer_id = $2,
             last_error = NULL WHERE id = $1 AND state = 'pending'`,
            [one.id, answerId],
        );
    }

    /** Never said yes to: a person must look. In the transaction of `ctx`. */
    async dead(ctx: RequestContext | undefined, one: ScripInstruction, error: string): Promise<void> {
        await this.manager(ctx).query(
            `UPDATE ${this.table} SET state = 'dead', ended_at = now(), lease_until = NULL, last_error = $2
             WHERE id = $1 AND state = 'pending'`,
            [one.id, error],
        );
    }

    /** Told in vain, and told again in `waitS` seconds. */
    async putOff(one: ScripInstruction, waitS: number, error: string): Promise<void> {
        await this.connection.rawConnection.query(
            `UPDATE ${this.table} SET due_at = now() + make_interval(secs => $2), lease_until = NULL, last_error = $3
             WHERE id = $1 AND state = 'pending'`,
            [one.id, waitS, error],
        );
    }

    /** Sets what was given up going again. In the transaction of `ctx`. */
    async revive(ctx: RequestContext, one: ScripInstruction | undefined): Promise<void> {
        if (one !== undefined) {
            await this.manager(ctx).query(
                `UPDATE ${this.table} SET state = 'pending', due_at = now(), ended_at = NULL
                 WHERE id = $1 AND state = 'dead'`,
                [one.id],
            );
        }
    }

    /** Takes a pending settle out that the service was never told, or has not done. In the transaction of `ctx`. */
    async withdraw(ctx: RequestContext, one: ScripInstruction): Promise<void> {
        await this.manager(ctx).query(`DELETE FROM ${this.table} WHERE id = $1 AND state = 'pending'`, [one.id]);
    }

    /**
     * Ends an "unless placed" void by `work`, while no transaction can place or change its order. Nothing is done while
     * one is at it (`order in work`), or where the order came to stand on the payment meanwhile (`gone`). All of it
     * is on the outbox's own connection, for the same reason as `ownPool`. Throws what `work` throws.
     */
    async endWhileOrderRests(
        one: ScripInstruction,
        work: () => Promise<void>,
    ): Promise<'done' | 'order in work' | 'gone'> {
        const runner = (await this.ownPool()).createQueryRunner();
        const count = async (query: string, by: string): Promise<number> =>
            ((await runner.query(query, [by])) as object[]).length;
        try {
            await runner.startTransaction();
            const order = `SELECT id FROM ${this.quoted(Order)} WHERE code = $1`;
            const orders = await count(order, one.order_code);
            if ((await count(`${order} FOR UPDATE SKIP LOCKED`, one.order_code)) < orders) {
                return 'order in work';
            }
            if ((await count(`SELECT id FROM ${this.table} WHERE id = $1 AND state = 'pending'`, one.id)) === 0) {
                return 'gone';
            }
            await work();
            await runner.query(
                `UPDATE ${this.table} SET state = 'done', ended_at = now(), lease_until = NULL WHERE id = $1`,
                [one.id],
            );
            await runner.commitTransaction();
            return 'done';
        } finally {
            if (runner.isTransactionActive) {
                await runner.rollbackTransaction();
            }
            await runner.release();
        }
    }

    private async add(ctx: RequestContext, added: Added): Promise<string> {
        const { verb, paymentId, orderCode, currency, amountMinor, key } = added;
        const id = randomUUID();
        await this.manager(ctx).query(
            `INSERT INTO ${this.table} (id, verb, payment_id, order_code, currency, amount_minor, final, key, state, tries)
             VALUES ($1, $2, $3, $4, $5, $6, true, $7, 'pending', 0) ON CONFLICT (key) DO NOTHING`,
            [id, verb, paymentId, orderCode, currency, amountMinor, key],
        );
        await this.eventBus.publish(new InstructionAdded(ctx));
        return id;
    }

    private manager(ctx: RequestContext | undefined): EntityManager {
        return this.connection.getRepository(ctx, ScripInstruction).manager;
    }

    private get table(): string {
        return this.quoted(ScripInstruction);
    }

    private quoted(entity: Function): string {
        const { rawConnection } = this.connection;
        const path = rawConnection.getMetadata(entity).tablePath;
        return path.split('.').map(part => rawConnection.driver.escape(part)).join('.');
    }

    /**
     * A few connections of the outbox's own. A shopper's transaction has one of the shop's while it waits for another:
     * were both of the same pool, enough shoppers at once would wait for each other forever.
     */
    private ownPool(): Promise<DataSource> {
        this.pool ??= new DataSource({
            ...this.connection.rawConnection.options,
            name: 'scrip-outbox',
            entities: [],
            subscribers: [],
            migrations: [],
            synchronize: false,
            migrationsRun: false,
            dropSchema: false,
            poolSize: 4,
        } as never)
            .initialize()
            .catch(error => {
                this.pool = null;
                throw error;
            });
        return this.pool;
    }
}
