package main
import ("os";"bytes";"image";"image/draw";_ "image/jpeg";"image/png";"github.com/prytany/prytany/examples/poster/effect")
func main(){
 raw,_:=os.ReadFile("/in/input")
 src,_,_:=image.Decode(bytes.NewReader(raw))
 switch os.Args[1]{
 case "decode":
 case "draw": for range 11 {m:=image.NewRGBA(src.Bounds()); draw.Draw(m,m.Rect,src,image.Point{},draw.Src)}
 case "apply": effect.Apply(src,effect.Options{})
 case "png": o:=effect.Apply(src,effect.Options{}); png.Encode(&bytes.Buffer{},o)
 case "pngfast": o:=effect.Apply(src,effect.Options{}); (&png.Encoder{CompressionLevel:png.BestSpeed}).Encode(&bytes.Buffer{},o)
 }
}
