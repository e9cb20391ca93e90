// Runs command-line tools of Java Kafka one after the other in one JVM.
//
// In: lines on stdin, `class TAB argument TAB argument ...`. Out, for each: a line `exit STATUS OUT ERR` and as many bytes
// of standard output and standard error. What a tool logs through log4j goes to the real standard error.
// A tool that ends the JVM itself is answered for with STATUS -1, and then the status is that of the JVM.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

public class Judge {
    static final class Ended extends Error {
        final int status;

        Ended(int status) {
            super("exit " + status, null, false, false);
            this.status = status;
        }
    }

    // Where a tool writes at the moment. Scala's Console keeps the first System.out it saw: hence one that stays.
    static final class Switched extends OutputStream {
        OutputStream to = OutputStream.nullOutputStream();

        @Override
        public void write(int b) throws IOException {
            to.write(b);
        }

        @Override
        public void write(byte[] bytes, int at, int count) throws IOException {
            to.write(bytes, at, count);
        }
    }

    static int ended;
    static ByteArrayOutputStream out, err;

    static void answer(PrintStream real, int status) {
        System.out.flush();
        System.err.flush();
        real.printf("exit %d %d %d%n", status, out.size(), err.size());
        for (ByteArrayOutputStream said : new ByteArrayOutputStream[] {out, err}) {
            byte[] bytes = said.toByteArray();
            real.write(bytes, 0, bytes.length);
        }
        real.flush();
    }

    public static void main(String[] words) throws Exception {
        PrintStream real = System.out;
        Switched toOut = new Switched();
        System.setOut(new PrintStream(toOut, true, "UTF-8"));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> answer(real, -1)));
        // A tool that catches everything goes on after its own exit; what it says then would never have been seen.
        Exit.Procedure end = (status, message) -> {
            if (ended < 0) ended = status;
            System.out.flush();
            System.err.flush();
            toOut.to = OutputStream.nullOutputStream();
            System.setErr(new PrintStream(OutputStream.nullOutputStream()));
            throw new Ended(status);
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(new byte[0]));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] all = line.split("\t", -1);
            toOut.to = out = new ByteArrayOutputStream();
            err = new ByteArrayOutputStream();
            System.setErr(new PrintStream(err, true, "UTF-8"));
            int status = 0;
            ended = -1;
            try {
                Class.forName(all[0]).getMethod("main", String[].class)
                    .invoke(null, (Object) Arrays.copyOfRange(all, 1, all.length));
            } catch (InvocationTargetException e) {
                Throwable cause = e.getCause();
                while (!(cause instanceof Ended) && cause.getCause() != null) cause = cause.getCause();
                if (cause instanceof Ended) {
                    status = ((Ended) cause).status;
                } else {
                    e.getCause().printStackTrace();
                    status = 1;
                }
            } catch (Ended e) {
                status = e.status;
            }
            answer(real, ended >= 0 ? ended : status);
        }
        Runtime.getRuntime().halt(0);
    }
}
