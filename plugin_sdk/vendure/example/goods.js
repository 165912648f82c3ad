'use strict';
// What the shop has when it opens for the first time: three books, one way to send them, and two ways to pay.

const {
    ChannelService,
    CurrencyCode,
    FastImporterService,
    LanguageCode,
    Populator,
    ProductService,
    RequestContextService,
    TaxCategoryService,
} = require('@vendure/core');

const BOOKS = [
    ['Night Trains', 30_00],
    ['The Salt Almanac', 12_00],
    ['A Short Walk', 1_00],
];

const INITIAL = {
    defaultLanguage: LanguageCode.en,
    defaultZone: 'Europe',
    countries: [{ code: 'GB', name: 'United Kingdom', zone: 'Europe' }],
    taxRates: [{ name: 'Standard Tax', percentage: 0 }],
    shippingMethods: [{ name: 'By post', price: 0 }],
    paymentMethods: [
        { name: 'Scrip gift card', handler: { code: 'scrip-gift-card', arguments: [] } },
        { name: 'Bank', handler: { code: 'bank', arguments: [] } },
    ],
    collections: [],
};

/** Puts the goods into an empty shop, in pounds sterling. */
exports.fill = async app => {
    await app.init();
    const contexts = app.get(RequestContextService);
    const first = await contexts.create({ apiType: 'admin' });
    if ((await app.get(ProductService).findAll(first, { take: 1 })).totalItems > 0) {
        return;
    }
    await app.get(ChannelService).update(first, {
        id: first.channelId,
        availableCurrencyCodes: [CurrencyCode.GBP],
        defaultCurrencyCode: CurrencyCode.GBP,
        pricesIncludeTax: true,
    });
    await app.get(Populator).populateInitialData(INITIAL);
    const ctx = await contexts.create({ apiType: 'admin' });
    const [tax] = (await app.get(TaxCategoryService).findAll(ctx)).items;
    const importer = app.get(FastImporterService);
    await importer.initialize(await app.get(ChannelService).getDefaultChannel(ctx));
    for (const [name, price] of BOOKS) {
        const translations = [{ languageCode: LanguageCode.en, name, slug: name, description: '' }];
        const productId = await importer.createProduct({ enabled: true, translations });
        await importer.createProductVariant({
            productId,
            sku: name,
            price,
            taxCategoryId: tax.id,
            trackInventory: 'FALSE',
            translations: [{ languageCode: LanguageCode.en, name }],
        });
    }
};
