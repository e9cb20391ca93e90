// kafkajs against the broker at argv[2], with topics that start with argv[3].
//
// Its consumer always joins a group. To read assigned partitions, this program uses the library's own broker
// connection, with its request encoder and record decoder, below the consumer.

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const zstd = require('@bokuweb/zstd-wasm')
const lz4 = require('lz4-napi')

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const COUNT = 300
const PARTITIONS = 3
const STEP_MS = 10
const PATIENCE_MS = 30_000

class Failed extends Error {}
const ok = what => console.log(`ok ${what}`)
const skip = (what, why) => console.log(`skip ${what}: ${why}`)
const shown = value => JSON.stringify(value)
function expect(what, found, wanted) {
  if (shown(found) !== shown(wanted)) throw new Failed(`${what}: found ${shown(found)}, wanted ${shown(wanted)}`)
}
const range = n => Array.from({ length: n }, (_, i) => i)

// Record i, by the rules of ../python/records.py.
function record(i, startMs) {
  const headers = []
  if (i % 3 !== 0) {
    headers.push(['n', String(i)])
    if (i % 5 === 0) headers.push(['n', 'again'], ['empty', ''])
  }
  let value = `value-${i}-` + 'x'.repeat((i * 37) % 300)
  if (i % 13 === 3) value = ''
  if (i % 11 === 5 && i % 7 !== 0) value = null
  return { key: i % 7 === 0 ? null : `key-${i % 50}`, value, headers, ms: startMs + i * STEP_MS }
}
const ofPartition = p => range(COUNT).filter(i => i % PARTITIONS === p)

function message(i, startMs, partition) {
  const { key, value, headers, ms } = record(i, startMs)
  const byKey = {}
  for (const [name, content] of headers) {
    byKey[name] = name in byKey ? [].concat(byKey[name], content) : content
  }
  return { key, value, headers: byKey, timestamp: String(ms), partition }
}

const text = bytes => (bytes === null || bytes === undefined ? null : bytes.toString())
function check(what, found, numbers, startMs, firstOffset) {
  expect(`${what}: count`, found.length, numbers.length)
  found.forEach((m, at) => {
    expect(`${what}: offset`, m.offset, String(firstOffset + at))
    const headers = Object.entries(m.headers).flatMap(([name, content]) => [].concat(content).map(c => [name, text(c)]))
    const seen = { key: text(m.key), value: text(m.value), headers, ms: Number(m.timestamp) }
    expect(`${what}: record ${numbers[at]}`, seen, record(numbers[at], startMs))
  })
}

async function errorOf(promise) {
  try {
    await promise
  } catch (error) {
    const inner = error.errors && error.errors[0] ? error.errors[0] : error
    return inner.type || (inner.cause && inner.cause.type) || inner.name
  }
  return 'NONE'
}

async function main(bootstrap, prefix) {
  const version = require('kafkajs/package.json').version
  console.log(`client kafkajs ${version}`)
  await zstd.init()
  const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 3 } })
  const admin = kafka.admin()
  await admin.connect()
  const createCluster = Object.getOwnPropertySymbols(kafka).find(s => s.description.endsWith('createCluster'))
  const cluster = kafka[createCluster]({ metadataMaxAge: 100, allowAutoTopicCreation: false })
  await cluster.connect()
  const startMs = Date.now() - 3_600_000

  const create = (topic, numPartitions = 1, configEntries = [], more = {}) =>
    admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }], waitForLeaders: false, ...more })
  const produce = async (topic, numbers, options = {}, partition = i => i % PARTITIONS) => {
    const { compression, acks = -1, ...rest } = options
    const producer = kafka.producer({ createPartitioner: () => ({ message }) => message.partition, ...rest })
    await producer.connect()
    const answer = await producer.send({ topic, acks, compression, messages: numbers.map(i => message(i, startMs, partition(i))) })
    await producer.disconnect()
    return answer
  }
  const read = async (topic, partition, offset, count) => {
    await cluster.addTargetTopic(topic)
    await cluster.refreshMetadata()
    const leader = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))[0]
    const broker = await cluster.findBroker({ nodeId: leader })
    const found = []
    const deadline = Date.now() + PATIENCE_MS
    while (found.length < count && Date.now() < deadline) {
      const fetchOffset = offset + found.length
      const answer = await broker.fetch({
        isolationLevel: 1, maxWaitTime: 500,
        topics: [{ topic, partitions: [{ partition, currentLeaderEpoch: -1, fetchOffset, maxBytes: 1_000_000 }] }],
      })
      const [{ messages }] = answer.responses[0].partitions
      // A batch is sent whole, also from its middle.
      found.push(...messages.filter(m => Number(m.offset) >= fetchOffset))
    }
    expect(`${topic}-${partition} from ${offset}: records`, found.length, count)
    return found
  }

  for (const [name, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP], ['snappy', CompressionTypes.Snappy], ['lz4', CompressionTypes.LZ4], ['zstd', CompressionTypes.ZSTD]]) {
    const topic = `${prefix}-${name}`
    expect('create', await create(topic, PARTITIONS), true)
    const metadata = await admin.fetchTopicMetadata({ topics: [topic] })
    expect('partitions', metadata.topics[0].partitions.map(p => p.partitionId).sort(), [0, 1, 2])
    const answer = await produce(topic, range(COUNT), { compression })
    expect(`${name}: acknowledged offsets`, answer.map(a => a.baseOffset), ['0', '0', '0'])
    const after = startMs + 150 * STEP_MS + 1
    const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, after)
    for (let p = 0; p < PARTITIONS; p++) {
      const numbers = ofPartition(p)
      check(name, await read(topic, p, 0, 100), numbers, startMs, 0)
      check(`${name} from 41`, await read(topic, p, 41, 59), numbers.slice(41), startMs, 41)
      const at = numbers.findIndex(i => i > 150)
      expect('offset by timestamp', byTime.find(o => o.partition === p).offset, String(at))
      check(`${name} by timestamp`, await read(topic, p, at, 100 - at), numbers.slice(at), startMs, at)
    }
    ok(`produce, read back by offset and by timestamp ${name}`)
  }

  for (const acks of [0, 1, -1]) {
    const topic = `${prefix}-acks${acks}`
    await create(topic)
    await produce(topic, range(100), { acks }, () => 0)
    check(`acks=${acks}`, await read(topic, 0, 0, 100), range(100), startMs, 0)
  }
  ok('acks 0, 1 and all')

  let topic = `${prefix}-idempotent`
  await create(topic)
  for (let run = 0; run < 2; run++) {
    const producer = kafka.producer({ idempotent: true, createPartitioner: () => ({ message }) => message.partition })
    await producer.connect()
    for (let from = 0; from < 300; from += 20) {
      const messages = range(20).map(i => message(from + i, startMs, 0))
      const [{ baseOffset }] = await producer.send({ topic, messages })
      expect('idempotent offset', baseOffset, String(run * 300 + from))
    }
    await producer.disconnect()
  }
  const both = await read(topic, 0, 0, 600)
  check('idempotent', both.slice(0, 300), range(300), startMs, 0)
  check('idempotent, second', both.slice(300), range(300), startMs, 300)
  ok('idempotent producer')

  topic = `${prefix}-large`
  await create(topic, 1, [{ name: 'max.message.bytes', value: '2000000' }])
  const producer = kafka.producer({ retry: { retries: 1 } })
  await producer.connect()
  const send = (to, size) => producer.send({ topic: to, messages: [{ value: Buffer.alloc(size) }] })
  expect('below max.message.bytes', await errorOf(send(topic, 1_900_000)), 'NONE')
  expect('above max.message.bytes', await errorOf(send(topic, 2_100_000)), 'MESSAGE_TOO_LARGE')
  expect('it reads back', (await read(topic, 0, 0, 1))[0].value.length, 1_900_000)
  ok('large records')

  const missing = `${prefix}-missing`
  expect('produce to an unknown topic', await errorOf(send(missing, 1)), 'UNKNOWN_TOPIC_OR_PARTITION')
  await producer.disconnect()
  expect('create twice', await create(topic), false)
  expect('a bad name', await errorOf(create('bad name')), 'INVALID_TOPIC_EXCEPTION')
  expect('an unknown setting', await errorOf(create(missing, 1, [{ name: 'no.such.key', value: '1' }])), 'INVALID_CONFIG')
  expect('validate only', await create(missing, 1, [], { validateOnly: true }), true)
  expect('nothing made by it', (await admin.listTopics()).includes(missing), false)
  expect('offset out of range', await errorOf(read(topic, 0, 1_000_000, 1)), 'OFFSET_OUT_OF_RANGE')
  ok('errors')

  topic = `${prefix}-gzip`
  const grow = count => admin.createPartitions({ topicPartitions: [{ topic, count }] })
  await grow(5)
  const metadata = await admin.fetchTopicMetadata({ topics: [topic] })
  expect('partitions now', metadata.topics[0].partitions.length, 5)
  expect('fewer partitions', await errorOf(grow(2)), 'INVALID_PARTITIONS')
  await produce(topic, range(10), {}, () => 4)
  check('new partition', await read(topic, 4, 0, 10), range(10), startMs, 0)
  ok('create partitions')

  const offsets = (await admin.fetchTopicOffsets(topic)).find(o => o.partition === 0)
  expect('list offsets', [offsets.low, offsets.high], ['0', '100'])
  ok('list offsets')

  const described = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: `${prefix}-large` }] })
  const values = Object.fromEntries(described.resources[0].configEntries.map(e => [e.configName, e.configValue]))
  expect('max.message.bytes', values['max.message.bytes'], '2000000')
  expect('cleanup.policy', values['cleanup.policy'], 'delete')
  const { brokers, controller } = await admin.describeCluster()
  expect('brokers', brokers.map(b => b.nodeId), [controller])
  ok('describe configs and cluster')

  await admin.deleteTopics({ topics: [topic] })
  const deadline = Date.now() + PATIENCE_MS
  while ((await admin.listTopics()).includes(topic) && Date.now() < deadline) await new Promise(done => setTimeout(done, 50))
  expect('deleted topic is gone', (await admin.listTopics()).includes(topic), false)
  expect('delete again', await errorOf(admin.deleteTopics({ topics: [topic] })), 'UNKNOWN_TOPIC_OR_PARTITION')
  ok('delete topics')
  skip('consumer', 'it always joins a group')
  await cluster.disconnect()
  await admin.disconnect()
}

main(process.argv[2], process.argv[3]).then(
  () => process.exit(0),
  error => {
    console.error(error.stack)
    console.log(`failed ${error.name}: ${error.message}`)
    process.exit(1)
  },
)
