// Golden bytes of requests and responses, written by the serializers of Java's kafka-clients.
//
// In: nothing. Out: one JSON object a line on stdout: API key, kind, version, name of the case, the frame without its
// size field (header and body, base64) and the values in it, as the generated JsonConverter shows them.
// A case is made from the schema of its version, so that every field of every version is in one.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.BinaryNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.LongNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.Collection;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Type;

public final class Messages {
    private static final short[] KEYS = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23,
        29, 30, 31, 32, 33, 35, 37, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 56, 57, 60, 61, 67};
    private static final String[] CASES = {"default", "typical", "other", "least", "most", "random"};

    public static void main(String[] args) throws Exception {
        for (short key : KEYS) {
            for (short version = ApiKeys.forId(key).oldestVersion(); version <= ApiKeys.forId(key).latestVersion(); version++) {
                for (boolean request : new boolean[] {true, false}) {
                    for (String name : CASES) {
                        System.out.println(line(key, version, request, name));
                    }
                }
            }
        }
    }

    private static String line(short key, short version, boolean request, String name) throws Exception {
        ApiMessageType type = ApiMessageType.fromApiKey(key);
        ApiMessage data = request ? type.newRequest() : type.newResponse();
        Class<?> converter = Class.forName(data.getClass().getName() + "JsonConverter");
        if (!name.equals("default")) {
            Schema[] schemas = request ? type.requestSchemas() : type.responseSchemas();
            Random random = new Random((long) key * 1_000_003 + version * 1009 + (request ? 1 : 0) + name.hashCode());
            JsonNode values = new Values(name, random).struct(schemas[version], 0);
            Method read = converter.getMethod("read", JsonNode.class, short.class);
            data = (ApiMessage) read.invoke(null, values, version);
        }
        Method write = converter.getMethod("write", data.getClass(), short.class, boolean.class);
        JsonNode shown = (JsonNode) write.invoke(null, data, version, true);

        short headerVersion = request ? type.requestHeaderVersion(version) : type.responseHeaderVersion(version);
        int correlationId = name.equals("most") ? Integer.MAX_VALUE : name.equals("least") ? Integer.MIN_VALUE : 7;
        Message header = request
            ? new RequestHeaderData().setRequestApiKey(key).setRequestApiVersion(version)
                .setCorrelationId(correlationId).setClientId(name.equals("least") ? null : name)
            : new ResponseHeaderData().setCorrelationId(correlationId);
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.put("key", key);
        line.put("kind", request ? "request" : "response");
        line.put("version", version);
        line.put("case", name);
        line.put("correlation_id", correlationId);
        line.put("bytes", Base64.getEncoder().encodeToString(bytes(header, headerVersion, data, version)));
        line.set("values", shown);
        return line.toString();
    }

    private static byte[] bytes(Message header, short headerVersion, Message body, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = header.size(cache, headerVersion) + body.size(cache, version);
        ByteBuffer buffer = ByteBuffer.allocate(size);
        header.write(new ByteBufferAccessor(buffer), cache, headerVersion);
        body.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException("size and bytes differ");
        }
        return buffer.array();
    }

    /** Values for every field of a schema: constant ones by case, or random ones. */
    private static final class Values {
        private static final JsonNodeFactory NODES = JsonNodeFactory.instance;
        private final String name;
        private final Random random;

        Values(String name, Random random) {
            this.name = name;
            this.random = random;
        }

        ObjectNode struct(Schema schema, int depth) {
            ObjectNode object = NODES.objectNode();
            for (var bound : schema.fields()) {
                if (bound.def.type instanceof TaggedFields) {
                    tagged((TaggedFields) bound.def.type)
                        .forEach(field -> object.set(camel(field.name), value(field.type, depth)));
                } else {
                    object.set(camel(bound.def.name), value(bound.def.type, depth));
                }
            }
            return object;
        }

        @SuppressWarnings("unchecked")
        private static Collection<Field> tagged(TaggedFields type) {
            try {
                var fields = TaggedFields.class.getDeclaredField("fields");
                fields.setAccessible(true);
                return ((Map<Integer, Field>) fields.get(type)).values();
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }

        private JsonNode value(Type type, int depth) {
            boolean least = name.equals("least");
            boolean most = name.equals("most");
            if (type.isNullable() && (least || (!most && !name.equals("typical") && random.nextInt(3) == 0))) {
                return NullNode.instance;
            }
            if (type instanceof Schema) {
                return struct((Schema) type, depth + 1);
            }
            if (type.isArray()) {
                ArrayNode array = NODES.arrayNode();
                int count = least ? 0 : most ? Math.max(1, 3 - depth) : name.equals("typical") ? 2 : random.nextInt(4);
                for (int i = 0; i < count; i++) {
                    array.add(value(type.arrayElementType().get(), depth + 1));
                }
                return array;
            }
            String text = type.toString();
            if (text.endsWith("BOOLEAN")) {
                return BooleanNode.valueOf(least ? false : most || random.nextBoolean());
            } else if (text.endsWith("INT8")) {
                return new IntNode(least ? Byte.MIN_VALUE : most ? Byte.MAX_VALUE : random.nextInt(3));
            } else if (text.equals("INT16")) {
                return new IntNode(least ? Short.MIN_VALUE : most ? Short.MAX_VALUE : random.nextInt(200) - 1);
            } else if (text.equals("INT32")) {
                return new IntNode(least ? Integer.MIN_VALUE : most ? Integer.MAX_VALUE
                    : name.equals("random") ? random.nextInt() : random.nextInt(100_000));
            } else if (text.equals("INT64")) {
                return new LongNode(least ? Long.MIN_VALUE : most ? Long.MAX_VALUE
                    : name.equals("random") ? random.nextLong() : random.nextInt(1_000_000_000));
            } else if (text.equals("FLOAT64")) {
                return new DoubleNode(least ? -9007199254740991.0 : most ? 9007199254740991.0 : random.nextInt(1 << 20) / 8.0);
            } else if (text.equals("UUID")) {
                return new TextNode((least ? Uuid.ZERO_UUID : most ? new Uuid(-1, -1)
                    : new Uuid(random.nextLong(), random.nextLong())).toString());
            } else if (text.contains("STRING")) {
                return new TextNode(least ? "" : most ? "längster-Name-€-😀-".repeat(9) : string());
            } else if (text.contains("BYTES") || text.contains("RECORDS")) {
                byte[] bytes = new byte[least ? 0 : most ? 200 : random.nextInt(40)];
                random.nextBytes(bytes);
                return new BinaryNode(bytes);
            }
            throw new IllegalStateException("no value for " + type);
        }

        private String string() {
            String[] words = {"orders", "a", "payments.v2", "_x-1", "größe", "retention.ms", "localhost", ""};
            return words[random.nextInt(words.length)];
        }

        private static String camel(String snake) {
            StringBuilder camel = new StringBuilder();
            boolean upper = false;
            for (char c : snake.toCharArray()) {
                if (c == '_') {
                    upper = true;
                } else {
                    camel.append(upper ? Character.toUpperCase(c) : c);
                    upper = false;
                }
            }
            return camel.toString().replace("Kraft", "KRaft"); // the one name the schema spells otherwise
        }
    }
}
