// Prints how java.util.Properties reads 400 small texts, as the golden file beside this one:
//   java PropertiesCases.java > properties-java.tsv
// A line is the text in hexadecimal, then key and value in turn, also in hexadecimal, by key; or `error`.

import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.util.*;

public class PropertiesCases {
    static final String[] PIECES = {"a", "b", "key", "=", ":", " ", "\t", "\f", "#", "!", "\\", "\\\n", "\\\r\n",
        "\\\\", "\n", "\r", "\r\n", "\\n", "\\t", "\\u0041", "\\u4e2d", "\\u12", "\\=", "\\:", "\\ ", "\u4e2d", "//x:1", "."};

    public static void main(String[] args) throws Exception {
        Random random = new Random(20210418);
        for (int made = 0; made < 400; made++) {
            StringBuilder text = new StringBuilder();
            for (int left = 1 + random.nextInt(14); left > 0; left--) text.append(PIECES[random.nextInt(PIECES.length)]);
            StringBuilder line = new StringBuilder(hex(text.toString()));
            try {
                Properties properties = new Properties();
                properties.load(new StringReader(text.toString()));
                for (String key : new TreeSet<>(properties.stringPropertyNames()))
                    line.append('\t').append(hex(key)).append('\t').append(hex(properties.getProperty(key)));
            } catch (IllegalArgumentException e) {
                line.append("\terror");
            }
            System.out.println(line);
        }
    }

    static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }
}
