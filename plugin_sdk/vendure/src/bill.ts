/** Bill: what a store is owed for a month, payment by payment, from its outbox. */

const COLUMNS = ['payment_id', 'order_reference', 'amount', 'currency', 'amount_minor', 'state'];
/** ISO 4217: the currencies whose number of decimals is not two. */
const DECIMALS: [number, string][] = [
    [0, 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF'],
    [3, 'BHD IQD JOD KWD LYD OMR TND'],
    [4, 'CLF UYW'],
];
const DECIMALS_BY_CURRENCY = new Map(
    DECIMALS.flatMap(([digits, codes]) => codes.split(' ').map((code): [string, number] => [code, digits])),
);
/** A spreadsheet takes a cell that begins so for a formula, and runs it. */
const FORMULA = /^\s*[=+\-@\t\r]/;

/** A settle or refund of the outbox, as far as a bill wants it. */
export interface BillRow {
    verb: 'settle' | 'refund';
    paymentId: string;
    orderCode: string;
    amountMinor: number;
    currency: string;
    state: 'pending' | 'done' | 'dead';
    createdAt: Date;
    endedAt: Date | null;
}

interface Line {
    paymentId: string;
    orderCode: string;
    amountMinor: number;
    currency: string;
}

/** When a month such as `2026-10` begins and when the next one does, in UTC. Throws: that is no month. */
export function monthOf(month: string): [Date, Date] {
    if (!/^[0-9]{4}-(0[1-9]|1[0-2])$/.test(month) || month < '2000') {
        throw new Error('That is no month: write it as 2026-10.');
    }
    const [year, number] = month.split('-').map(Number) as [number, number];
    return [new Date(Date.UTC(year, number - 1, 1)), new Date(Date.UTC(year, number, 1))];
}

/**
 * The bill for a month, for people: one row for each payment, `settled` or `pending`, in RFC 4180's way.
 *
 * `rows` are all of the outbox, oldest first. A settle and a refund belong to the month in which they were done, so the
 * months' bills together are all that is owed. What is still to be told stands apart; what is dead is not billed.
 * Throws: that is no month.
 */
export function asCsv(month: string, rows: BillRow[]): string {
    const [begins, ends] = monthOf(month);
    const known = rows.filter(row => row.createdAt < ends);
    const settled = known.filter(
        ({ state, endedAt }) => state === 'done' && endedAt !== null && begins <= endedAt && endedAt < ends,
    );
    const pending = known.filter(row => row.state === 'pending');
    const written = [
        COLUMNS,
        ...linesOf(settled).map(line => cells(line, 'settled')),
        ...linesOf(pending).map(line => cells(line, 'pending')),
    ];
    return written.map(row => row.map(quoted).join(',') + '\r\n').join('');
}

/** What each payment came to: settled less refunded; none of them is zero. */
function linesOf(rows: BillRow[]): Line[] {
    const lines = new Map<string, Line>();
    for (const { verb, paymentId, orderCode, amountMinor, currency } of rows) {
        const of = `${paymentId} ${currency}`;
        const line = lines.get(of) ?? { paymentId, orderCode, amountMinor: 0, currency };
        line.amountMinor += verb === 'settle' ? amountMinor : -amountMinor;
        lines.set(of, line);
    }
    return [...lines.values()].filter(line => line.amountMinor !== 0);
}

function cells({ paymentId, orderCode, amountMinor, currency }: Line, state: string): string[] {
    return [guarded(paymentId), guarded(orderCode), decimal(amountMinor, currency), currency, String(amountMinor), state];
}

/** The amount in major units, with all of its currency's decimals. */
function decimal(amountMinor: number, currency: string): string {
    const digits = DECIMALS_BY_CURRENCY.get(currency) ?? 2;
    const written = String(Math.abs(amountMinor)).padStart(digits + 1, '0');
    const whole = written.slice(0, written.length - digits);
    return (amountMinor < 0 ? '-' : '') + whole + (digits ? `.${written.slice(-digits)}` : '');
}

function guarded(text: string): string {
    return FORMULA.test(text) ? `'${text}` : text;
}

function quoted(cell: string): string {
    return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
