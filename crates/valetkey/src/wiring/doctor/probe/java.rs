//! Java's HttpClient, compiled as it is started. Java reads no proxy variables; its trust store comes from
//! JAVA_TOOL_OPTIONS.

use super::{PLAIN, Probe};

const MEND: &str = "Java reads no proxy variables: the program must give its HttpClient `.proxy(..)` from HTTPS_PROXY, send \
                    Proxy-Authorization itself (an Authenticator would drop its Authorization), and set \
                    jdk.http.auth.tunneling.disabledSchemes to nothing; or call the gateway's /proxy/SERVICE/ address";

/// Needs the compiler: a runtime alone cannot start a source file.
const HERE: (&str, &str) = ("Here.java", "class Here { public static void main(String[] a) {} }\n");

pub(super) const AS_IT_IS: Probe = Probe {
    subject: "java HttpClient",
    programs: &["java"],
    needs: r#""$PROGRAM" Here.java"#,
    version: r#""$PROGRAM" --version"#,
    files: &[
        HERE,
        (
            "Probe.java",
            "import java.net.URI;
import java.net.http.*;
class Probe {
    public static void main(String[] a) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(\"https://probe.valetkey.test/user\"))
            .header(\"Authorization\", \"Bearer \" + System.getenv(\"DOCTOR_TOKEN\")).build();
        System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
",
        ),
    ],
    script: r#"exec "$PROGRAM" Probe.java"#,
    mend: MEND,
    ..PLAIN
};

pub(super) const TOLD: Probe = Probe {
    subject: "java HttpClient, told of the proxy",
    files: &[
        HERE,
        (
            "Probe.java",
            "import java.net.*;
import java.net.http.*;
import java.util.Base64;
class Probe {
    public static void main(String[] a) throws Exception {
        System.setProperty(\"jdk.http.auth.tunneling.disabledSchemes\", \"\");
        var proxy = URI.create(System.getenv(\"HTTPS_PROXY\"));
        var client = HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort()))).build();
        var user = Base64.getEncoder().encodeToString(proxy.getUserInfo().getBytes());
        var request = HttpRequest.newBuilder(URI.create(\"https://probe.valetkey.test/user\"))
            .header(\"Proxy-Authorization\", \"Basic \" + user)
            .header(\"Authorization\", \"Bearer \" + System.getenv(\"DOCTOR_TOKEN\")).build();
        System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
",
        ),
    ],
    mend: "this Java does not take its trust store from JAVA_TOOL_OPTIONS: pass -Djavax.net.ssl.trustStore, or import $SSL_CERT_FILE \
           with keytool",
    ..AS_IT_IS
};
