'use strict';
// The parts that call nobody: what they say is what scrip_sdk says in Python, of which the values here are.

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { test } = require('node:test');
const { inspect } = require('node:util');

const { asCsv, monthOf } = require('../dist/bill');
const { Code, readCode } = require('../dist/code');
const { CodeMistyped } = require('../dist/errors');
const { exchangeKey, requestKey } = require('../dist/keys');
const { prefixOf, shopperOf } = require('../dist/shopper');

const VECTORS = JSON.parse(readFileSync(join(__dirname, '../../../docs/code_vectors.json'), 'utf8'));

test('every code of the vectors is read, however it is typed', () => {
    assert.ok(VECTORS.codes.length >= 20);
    for (const { code, shown } of VECTORS.codes) {
        assert.equal(readCode(shown), code);
        assert.equal(readCode(` ${shown.toLowerCase().replace(/-/g, ' ')}`), code);
        assert.equal(readCode(shown.replace(/0/g, 'O').replace(/1/g, 'l')), code);
        assert.equal(new Code(shown).reveal(), code);
    }
});

test('a code with any one other character is mistyped', () => {
    for (const { code } of VECTORS.codes) {
        for (let place = 0; place < code.length; place++) {
            for (const other of VECTORS.alphabet) {
                const typed = code.slice(0, place) + other + code.slice(place + 1);
                assert.equal(readCode(typed), other === code[place] ? code : null);
            }
        }
    }
});

test('what is no code is mistyped', () => {
    const { code } = VECTORS.codes[1];
    const odd = ['', code.slice(1), `${code}0`, `${code}${' '.repeat(50)}`, `${code.slice(1)}Ž`, 7, null, { code }, [code]];
    for (const typed of odd) {
        assert.throws(() => new Code(typed), CodeMistyped);
    }
});

test('a code shows itself to nobody', () => {
    const { code } = VECTORS.codes[1];
    const hidden = new Code(code);
    const shown = [`${hidden}`, JSON.stringify({ hidden }), inspect(hidden, { showHidden: true, depth: 9 })];
    shown.push(JSON.stringify({ ...hidden }), inspect(structuredClone(hidden)));
    assert.ok(shown.every(text => !text.includes(code)));
});

test('a shopper has the key and the network that Python gives him', () => {
    const shopper = shopperOf("a shop's own secret", 'session-1', '203.0.113.77');
    assert.deepEqual(shopper, {
        keyHash: 'c2755d930ead75b62453e1fc3ddd02b8236f4cf1cabd60e1b5a4f725238e106e',
        addressPrefix: '203.0.113.0/24',
    });
    assert.throws(() => shopperOf('short', 'session-1'), /16 bytes/);
    assert.throws(() => shopperOf("a shop's own secret", ''), /ID/);
});

test('networks are written as Python writes them', () => {
    const networks = {
        '203.0.113.77': '203.0.113.0/24',
        '::ffff:203.0.113.77': '203.0.113.0/24',
        '2001:db8:0:1:2:3:4:5': '2001:db8:0:1::/64',
        'fe80::1%eth0': 'fe80::/64',
        '::1': '::/64',
        '0:0:0:1::9': '0:0:0:1::/64',
        ' 1.2.3.4 ': '1.2.3.0/24',
        '01.2.3.4': null,
        'a house': null,
        '': null,
    };
    for (const [address, network] of Object.entries(networks)) {
        assert.equal(prefixOf(address), network, address);
    }
    assert.equal(prefixOf(undefined), null);
});

test('keys are those of Python', () => {
    const shopper = shopperOf("a shop's own secret", 'session-1', '203.0.113.77');
    assert.equal(requestKey('settle', 'pay_1', 'T-1'), 'settle:pay_1:T-1');
    assert.equal(
        requestKey('refund', 'pay_1', 'ord/1 ü', '7'),
        'refund:pay_1:~40b01eeef2fca7a1ac50371804c2f58e512dcdbd8a5a5d4b56d26f14c09c9883:7',
    );
    assert.equal(
        exchangeKey('nonce', 'T-1', shopper),
        'exchange:3501d6938be19d0734a8185b27ba55a22735376ebc3ed4d25db15ac0cd03c4b9',
    );
    assert.equal(
        exchangeKey('nonce', 'T-1', { keyHash: 'k', addressPrefix: null }),
        'exchange:8f44d166c781065d24bf4cd37fa5b220d7c1c1e84a3a53465ee7d42a99867245',
    );
    assert.notEqual(
        exchangeKey('nonce', 'T-1', shopper, { amountMinor: 1, currency: 'GBP' }),
        exchangeKey('nonce', 'T-1', shopper),
    );
    assert.throws(() => exchangeKey('', 'T-1', shopper), /nonce/);
    assert.throws(() => exchangeKey('x'.repeat(201), 'T-1', shopper), /nonce/);
});

test('a bill has what was done in its month, and what is pending apart', () => {
    const row = (verb, paymentId, amountMinor, state, ended, more = {}) => ({
        verb,
        paymentId,
        orderCode: 'T-1',
        amountMinor,
        currency: 'GBP',
        state,
        createdAt: new Date('2026-10-01T00:00:00Z'),
        endedAt: ended && new Date(ended),
        ...more,
    });
    const rows = [
        row('settle', 'pay_1', 3_000, 'done', '2026-10-01T00:00:00Z'),
        row('refund', 'pay_1', 500, 'done', '2026-10-31T23:59:59Z'),
        row('settle', 'pay_2', 700, 'done', '2026-11-01T00:00:00Z'),
        row('refund', 'pay_3', 5, 'done', '2026-10-09T00:00:00Z'),
        row('settle', 'pay_4', 900, 'done', '2026-10-09T00:00:00Z'),
        row('refund', 'pay_4', 900, 'done', '2026-10-10T00:00:00Z'),
        row('settle', 'pay_5', 800, 'pending', null, { orderCode: '=cmd, "x"' }),
        row('settle', 'pay_6', 800, 'dead', '2026-10-09T00:00:00Z'),
        row('settle', 'pay_7', 800, 'pending', null, { createdAt: new Date('2026-11-01T00:00:00Z') }),
        row('settle', 'pay_8', 12, 'done', '2026-10-09T00:00:00Z', { currency: 'JPY' }),
        row('settle', 'pay_9', 12, 'done', '2026-10-09T00:00:00Z', { currency: 'BHD' }),
    ];
    assert.deepEqual(asCsv('2026-10', rows).split('\r\n'), [
        'payment_id,order_reference,amount,currency,amount_minor,state',
        'pay_1,T-1,25.00,GBP,2500,settled',
        'pay_3,T-1,-0.05,GBP,-5,settled',
        'pay_8,T-1,12,JPY,12,settled',
        'pay_9,T-1,0.012,BHD,12,settled',
        `pay_5,"'=cmd, ""x""",8.00,GBP,800,pending`,
        '',
    ]);
});

test('a month is written as 2026-10', () => {
    assert.deepEqual(monthOf('2026-12').map(String), [new Date('2026-12-01T00:00Z'), new Date('2027-01-01T00:00Z')].map(String));
    for (const month of ['2026-13', '2026-1', '1999-12', '2026-10-01', '']) {
        assert.throws(() => monthOf(month), /2026-10/);
    }
});
