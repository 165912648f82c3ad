import { Args, Mutation, Query, Resolver } from '@nestjs/graphql';
import {
    ActiveOrderService,
    Allow,
    Ctx,
    Order,
    Permission,
    PermissionDefinition,
    RequestContext,
    Transaction,
    TransactionalConnection,
    UserInputError,
} from '@vendure/core';
import gql from 'graphql-tag';

import { asCsv, BillRow, monthOf } from './bill';
import { Deliverer, Delivery } from './deliver';
import { GiftCards } from './gift-cards';
import { ScripInstruction } from './instruction';

/** Who may see the month's bill, and have the service told of what waits. */
export const scripPermission = new PermissionDefinition({
    name: 'Scrip',
    description: "See the gift cards' bill, and tell the gift card service what it was not told yet",
});

export const shopSchema = gql`
    extend type Mutation {
        "Takes the gift cards off the active order; null where there is none"
        removeGiftCards: Order
    }
`;

export const adminSchema = gql`
    type ScripDelivery {
        "How many things the service was told, and said yes to"
        done: Int!
        "How many it must be told again later"
        putOff: Int!
        "How many it will never say yes to: a person must look"
        dead: Int!
        "The service is away: the others wait"
        away: Boolean!
    }
    extend type Query {
        "What the shop is owed for a month such as 2026-10, payment by payment, as CSV"
        scripBill(month: String!): String!
    }
    extend type Mutation {
        "Tells the service what is due; everything: also what is put off until later"
        deliverScrip(everything: Boolean): ScripDelivery!
    }
`;

@Resolver()
export class ScripShopResolver {
    constructor(
        private readonly activeOrders: ActiveOrderService,
        private readonly giftCards: GiftCards,
    ) {}

    @Mutation()
    @Transaction()
    @Allow(Permission.Owner)
    async removeGiftCards(@Ctx() ctx: RequestContext): Promise<Order | null> {
        const order = ctx.authorizedAsOwnerOnly ? await this.activeOrders.getActiveOrder(ctx, undefined) : undefined;
        if (order === undefined) {
            return null;
        }
        await this.giftCards.removeAll(ctx, order.id);
        return (await this.giftCards.shown(ctx, order.id)) ?? null;
    }
}

@Resolver()
export class ScripAdminResolver {
    constructor(
        private readonly connection: TransactionalConnection,
        private readonly deliverer: Deliverer,
    ) {}

    @Mutation()
    @Allow(scripPermission.Permission)
    deliverScrip(@Args() { everything }: { everything?: boolean | null }): Promise<Delivery> {
        return this.deliverer.deliver(everything ?? false);
    }

    @Query()
    @Allow(scripPermission.Permission)
    async scripBill(@Ctx() ctx: RequestContext, @Args() { month }: { month: string }): Promise<string> {
        let ends: Date;
        try {
            [, ends] = monthOf(month);
        } catch {
            throw new UserInputError('A month is written as 2026-10.');
        }
        const found = await this.connection
            .getRepository(ctx, ScripInstruction)
            .createQueryBuilder('one')
            .where(`one.verb <> 'void' AND one.created_at < :ends`, { ends })
            .orderBy('one.created_at')
            .addOrderBy('one.id')
            .getMany();
        return asCsv(month, found.map(rowOf));
    }
}

function rowOf(one: ScripInstruction): BillRow {
    return {
        verb: one.verb as BillRow['verb'],
        paymentId: one.payment_id,
        orderCode: one.order_code,
        amountMinor: one.amount_minor ?? 0,
        currency: one.currency,
        state: one.state,
        createdAt: one.created_at,
        endedAt: one.ended_at,
    };
}
