/** The linkmesh service behind the gateway; what the bare server answers too. */
export default { get: ({ id }) => ({ id, sku: `A-${id}`, quantity: 3 }) }
