export { Budget, Client, ClientOptions, Money, ScripPayment } from './client';
export { scripPermission } from './api';
export { scripGiftCardHandler } from './handler';
export { ScripInstruction } from './instruction';
export { ScripOptions } from './options';
export { ScripPlugin } from './plugin';
