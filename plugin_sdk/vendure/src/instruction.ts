import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

export type Verb = 'settle' | 'void' | 'refund';

/**
 * One thing to tell the service: a row of the outbox, in the shop's own database, with no secret in it.
 *
 * `amount_minor` is null for a void. `key` is the Idempotency-Key of every try. `due_at`: not before then; whoever tells
 * it has it until `lease_until`; `tries` counts them. `last_error` is a slug. `ended_at` is when it was done or dead,
 * `answer_id` the settlement's or refund's.
 */
@Entity('scrip_instruction')
@Index('scrip_instruction_due', ['state', 'due_at'])
export class ScripInstruction {
    @PrimaryColumn({ type: 'uuid' })
    id: string;

    @Column({ type: 'varchar', length: 8 })
    verb: Verb;

    @Index('scrip_instruction_payment')
    @Column({ type: 'varchar', length: 40 })
    payment_id: string;

    @Column({ type: 'varchar', length: 200 })
    order_code: string;

    @Column({ type: 'int', nullable: true })
    amount_minor: number | null;

    @Column({ type: 'varchar', length: 3 })
    currency: string;

    @Column({ type: 'boolean', default: true })
    final: boolean;

    @Index('scrip_instruction_key', { unique: true })
    @Column({ type: 'varchar', length: 255 })
    key: string;

    @Column({ type: 'varchar', length: 8, default: 'pending' })
    state: 'pending' | 'done' | 'dead';

    @Column({ type: 'timestamptz', default: () => 'now()' })
    due_at: Date;

    @Column({ type: 'timestamptz', nullable: true })
    lease_until: Date | null;

    @Column({ type: 'int', default: 0 })
    tries: number;

    @Column({ type: 'varchar', length: 64, nullable: true })
    last_error: string | null;

    @Column({ type: 'timestamptz', default: () => 'now()' })
    created_at: Date;

    @Column({ type: 'timestamptz', nullable: true })
    ended_at: Date | null;

    @Column({ type: 'varchar', length: 64, nullable: true })
    answer_id: string | null;
}
