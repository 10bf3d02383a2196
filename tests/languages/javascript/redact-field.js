// A transform: replaces one field of every run.

const SCHEMA = {
  type: 'object',
  properties: {
    pointer: { type: 'string', description: 'JSON pointer from the run: `/inputs/email`.' },
    replacement: { type: 'string', default: '[redacted]' },
  },
  required: ['pointer'],
  additionalProperties: false,
};

/** @type {{ pointer: string, replacement?: string }} */
let config;

export const lifecycle = {
  describe() {
    const description = 'Replaces one field of every run.';
    return JSON.stringify({ description, version: '1.0.0', config_schema: SCHEMA });
  },

  configure(text) {
    config = JSON.parse(text);
    for (const [name, value] of Object.entries(config)) {
      const expected = SCHEMA.properties[name]?.type;
      if (!expected) throw `config: unknown field \`${name}\``;
      if (typeof value !== expected) throw `config field \`${name}\`: expected ${expected}`;
    }
    for (const name of SCHEMA.required) {
      if (!(name in config)) throw `config: missing field \`${name}\``;
    }
  },
};

export const transform = {
  apply(payload) {
    const { pointer, replacement = '[redacted]' } = config;
    for (let index = 0; index < payload.len(); index += 1) {
      const run = payload.run(index);
      if (run.get(pointer) !== undefined) run.set(pointer, JSON.stringify(replacement));
      run[Symbol.dispose]();
    }
  },
};
