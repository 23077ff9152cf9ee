#!/usr/bin/env node
// Stands where the Prisma CLI expects its native schema engine: JSON-RPC lines on stdin and stdout.
// The work is done by Prisma's own engine in its WebAssembly build; ours are the line protocol and the connection, which, like the
// native engine's, is a single one and sends a migration's file as one simple query.
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { webcrypto } from 'node:crypto'
import { createRequire } from 'node:module'

globalThis.crypto ??= webcrypto // Node 18 (Debian 12's) has it under another name, and the engine stops without it

const need = createRequire(import.meta.url)
const { PrismaPg } = need('@prisma/adapter-pg')
const { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } = need('@prisma/driver-adapter-utils')
const pg = need('pg')

const args = process.argv.slice(2)
if (args.includes('--version')) {
  console.log('schema-engine-cli wasm')
  process.exit(0)
}

const schemas = []
let datasource = null
for (let i = 0; i < args.length; i++) {
  if (['--datamodels', '--datamodel', '-d'].includes(args[i])) schemas.push([args[i + 1], fs.readFileSync(args[i + 1], 'utf8')])
  if (args[i] === '--datasource') {
    const value = args[i + 1]
    datasource = value.startsWith('{') ? JSON.parse(value) : { url: value }
  }
}
const subcommand = args.find((a) => ['can-connect-to-database', 'create-database', 'drop-database'].includes(a))

function urlInSchema(key) {
  for (const [, text] of schemas) {
    const block = text.match(/datasource\s+\w+\s*\{([^}]*)\}/)
    const value = block && block[1].match(new RegExp(`^\\s*${key}\\s*=\\s*(?:env\\("(\\w+)"\\)|"([^"]*)")`, 'm'))
    if (value) return value[1] ? process.env[value[1]] : value[2]
  }
  return undefined
}

const databaseUrl = () => (datasource && (datasource.directUrl || datasource.url)) || urlInSchema('directUrl') || urlInSchema('url')

// Parameters that are Prisma's own and that the driver would pass on to the server.
const PRISMA_PARAMETERS = ['schema', 'connection_limit', 'pool_timeout', 'pgbouncer', 'statement_cache_size', 'socket_timeout', 'connect_timeout']

function split(url) {
  const parsed = new URL(url)
  const schema = parsed.searchParams.get('schema') || 'public'
  for (const name of PRISMA_PARAMETERS) parsed.searchParams.delete(name)
  return { connectionString: parsed.toString(), schema }
}

let lastError = null

// One connection per adapter, so that the advisory lock and the search_path last.
class OneConnection extends PrismaPg {
  async connect() {
    const adapter = await super.connect()
    const client = new pg.Client({ connectionString: this.config.connectionString })
    client.on('error', () => {})
    await client.connect()
    await client.query(`SET search_path = "${this.options.schema}"`)
    adapter.client = client
    adapter.dispose = () => client.end()
    adapter.executeScript = async (script) => {
      try {
        await client.query(script)
      } catch (error) {
        lastError = error
        adapter.onError(error)
      }
    }
    readCatalogTypes(adapter)
    return adapter
  }

  async connectToShadowDb() {
    const admin = new pg.Client(this.config.connectionString)
    await admin.connect()
    const name = `shadow_${globalThis.crypto.randomUUID()}`
    await admin.query(`CREATE DATABASE "${name}"`)
    const url = new URL(this.config.connectionString)
    url.pathname = `/${name}`
    const adapter = await new OneConnection({ ...this.config, connectionString: url.toString() }, this.options).connect()
    const end = adapter.dispose
    adapter.dispose = async () => {
      await end()
      await admin.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`)
      await admin.end()
    }
    return adapter
  }
}

// The adapter refuses column types that only catalogs have ("char", name and their arrays): read them as text, tell what they are.
function readCatalogTypes(adapter) {
  const types = { 18: ColumnTypeEnum.Character, 19: ColumnTypeEnum.Text, 1003: ColumnTypeEnum.TextArray, 1002: ColumnTypeEnum.CharacterArray }
  const perform = adapter.performIO.bind(adapter)
  const query = Object.getPrototypeOf(Object.getPrototypeOf(adapter)).queryRaw
  adapter.queryRaw = async (request) => {
    let seen = []
    adapter.performIO = async (io) => {
      const result = await perform(io)
      seen = result.fields.map((field) => field.dataTypeID)
      for (const field of result.fields) if (types[field.dataTypeID] !== undefined) field.dataTypeID = 25
      return result
    }
    try {
      const result = await query.call(adapter, request)
      result.columnTypes = result.columnTypes.map((type, i) => types[seen[i]] ?? type)
      return result
    } finally {
      delete adapter.performIO
    }
  }
}

function log(level, message, more = {}) {
  const entry = { timestamp: new Date().toISOString(), level, fields: { message, ...more }, target: 'schema_engine::logger' }
  process.stderr.write(JSON.stringify(entry) + '\n')
}

async function runSubcommand() {
  const { connectionString } = split(datasource.url)
  try {
    const client = new pg.Client(connectionString)
    await client.connect()
    await client.end()
    log('INFO', 'Connection successful')
    process.exit(0)
  } catch (error) {
    const code = error.code === '3D000' ? 'P1003' : ['28P01', '28000'].includes(error.code) ? 'P1000' : 'P1001'
    log('ERROR', error.message, { is_panic: false, error_code: code })
    process.exit(1)
  }
}
if (subcommand) await runSubcommand()

globalThis.PRISMA_WASM_PANIC_REGISTRY = { message: '', get() { return this.message }, set_message(text) { this.message = text } }
const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg')
const wasm = path.join(path.dirname(need.resolve('@prisma/schema-engine-wasm/schema_engine_bg')), 'schema_engine_bg.wasm')
const instance = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(wasm)), { './schema_engine_bg.js': bindings })
bindings.__wbg_set_wasm(instance.exports)
instance.exports.__wbindgen_start()

let engine = null
async function theEngine() {
  if (!engine) {
    const { connectionString, schema } = split(databaseUrl())
    const factory = bindMigrationAwareSqlAdapterFactory(new OneConnection({ connectionString, max: 1 }, { schema }))
    engine = await bindings.SchemaEngine.new({ datamodels: schemas.length ? schemas : undefined }, () => {}, factory)
  }
  return engine
}

const WITH_FILTERS = ['applyMigrations', 'diff', 'createMigration', 'devDiagnostic', 'diagnoseMigrationHistory', 'evaluateDataLoss', 'schemaPush']

async function call({ method, params }) {
  const name = method === 'getDatabaseVersion' ? 'version' : method
  const input = WITH_FILTERS.includes(name) ? { filters: { externalTables: [], externalEnums: [] }, ...params } : params
  lastError = null
  const result = await (await theEngine())[name](input)
  return result ?? null
}

// The WebAssembly build does not wrap a failing script as the native engine does (P3018).
function described(request, error) {
  const name = /with migration_name="([^"]+)"/.exec(error?.message ?? '')?.[1]
  if (request.method === 'applyMigrations' && lastError && name) {
    return { error_code: 'P3018', message: `A migration failed to apply.\nMigration name: ${name}\nDatabase error code: ${lastError.code}\n${lastError.message}` }
  }
  return { error_code: error?.code, message: error?.message ?? String(error) }
}

let last = Promise.resolve()
const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity })
lines.on('line', (line) => {
  const request = JSON.parse(line)
  if (!request.method) return
  last = last.then(async () => {
    const answer = { jsonrpc: '2.0', id: request.id }
    try {
      answer.result = await call(request)
    } catch (error) {
      answer.error = { code: 4466, message: 'An error happened.', data: { is_panic: false, meta: null, ...described(request, error) } }
    }
    process.stdout.write(JSON.stringify(answer) + '\n')
  })
})
lines.on('close', () => last.then(() => process.exit(0)))
